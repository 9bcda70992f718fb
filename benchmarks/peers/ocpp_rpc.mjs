// A central system on ocpp-rpc, which in strict mode validates what comes in and what goes out.
// Prints its port once it listens.
import { RPCServer } from "ocpp-rpc";

const server = new RPCServer({ protocols: ["ocpp1.6", "ocpp2.0.1"], strictMode: true });
server.on("client", (client) => {
  client.handle("Heartbeat", () => ({ currentTime: new Date().toISOString() }));
  client.handle("MeterValues", () => ({}));
  client.handle("TransactionEvent", () => ({ idTokenInfo: { status: "Accepted" } }));
});
const http = await server.listen(0, "127.0.0.1");
console.log(http.address().port);
