/**
 * A control server in a process that can be stopped. It prints a line when it
 * listens on the given path.
 */
import { startControlServer } from "../../src/control/server.ts";
import { net } from "./conns.ts";
import { memoryLog } from "./memory-log.ts";

const [path = ""] = process.argv.slice(2);
await startControlServer({
  net,
  path,
  group: "",
  log: memoryLog(),
  handle: async () => ({ pid: process.pid }),
});
console.log("listening");
