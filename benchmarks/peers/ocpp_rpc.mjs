// A central system with ocpp-rpc; in strict mode it validates requests and answers.
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
