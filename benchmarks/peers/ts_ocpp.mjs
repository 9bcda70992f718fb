// A central system with @voltbras/ts-ocpp; it validates requests, but not answers, and supports only 1.6.
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
// The library has no other way to get the port.
central.httpServer.once("listening", () => console.log(central.httpServer.address().port));
