// A central system of the npm package ocpp-rpc in its strict mode. It writes what happens as lines of JSON, and reads
// the answers of the test, and the test's own requests, as such lines.
"use strict";

const readline = require("node:readline");
const { RPCServer } = require("ocpp-rpc");

const protocol = process.argv[2];
const waiting = new Map();
let current = null;
let count = 0;

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const server = new RPCServer({ protocols: [protocol], strictMode: true, callTimeoutMs: 20000 });
server.auth((accept) => accept());
server.on("client", (client) => {
    current = client;
    client.on("strictValidationFailure", ({ error }) => tell({ fault: String(error) }));
    client.on("badMessage", ({ error }) => tell({ fault: String(error) }));
    client.handle(({ method, params }) => new Promise((resolve) => {
        count += 1;
        waiting.set(count, resolve);
        tell({ call: count, action: method, payload: params });
    }));
    tell({ connected: client.identity });
});

readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const { answer, request, action, payload } = JSON.parse(line);
    if (answer !== undefined) {
        waiting.get(answer)(payload);
        waiting.delete(answer);
        return;
    }
    try {
        tell({ answered: request, payload: await current.call(action, payload) });
    } catch (error) {
        tell({ answered: request, error: String(error) });
    }
}).on("close", () => process.exit(0));

server.listen(0, "127.0.0.1").then((http) => tell({ port: http.address().port }));
