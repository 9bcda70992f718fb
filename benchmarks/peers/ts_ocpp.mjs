// A central system on @voltbras/ts-ocpp, which validates what comes in, but not what goes out, and speaks 1.6 alone.
// Prints its port once it listens.
import ocpp from "@voltbras/ts-ocpp";

const central = new ocpp.CentralSystem(
  0,
  ({ action, ocppVersion }) => {
    switch (action) {
      case "Heartbeat":
        return { action, ocppVersion, currentTime: new Date().toISOString() };
      case "MeterValues":
        return { action, ocppVersion };
      default:
        throw new Error(`${action} is not served`);
    }
  },
  "127.0.0.1",
);
// It does not tell its port in any other way.
central.httpServer.once("listening", () => console.log(central.httpServer.address().port));
