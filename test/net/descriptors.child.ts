/** Run with few descriptors: opens all the listeners and connections that it can have, and tells how many that were. */
import { bunNet as net } from "../../src/net/bun.ts";
import { connectionRoom, descriptorLimit, turnedAway } from "../../src/net/descriptors.ts";
import type { Conn, Listener } from "../../src/net/types.ts";

const listeners: Listener[] = [];
const accepted: Conn[] = [];
const roomAtFirst = connectionRoom(0);
let refusal = "";
while (refusal === "") {
  try {
    listeners.push(await net.listen({ host: "127.0.0.1", port: 0 }, (conn) => void accepted.push(conn)));
  } catch (error) {
    refusal = (error as Error).message.replace(/^.*: /, "");
  }
}
const most = listeners.length;
const roomAmongListeners = connectionRoom(0);
for (const listener of listeners.splice(1)) listener.close();
const roomAgain = connectionRoom(0);

const [listener] = listeners;
const dialed: Conn[] = [];
let dialFailure = "";
while (dialFailure === "" && listener !== undefined) {
  try {
    dialed.push(await net.dial(listener.address));
  } catch (error) {
    dialFailure = (error as Error).message.replace(/^.*: /, "");
  }
}
for (const conn of [...dialed, ...accepted]) conn.abort();
await Promise.all([...dialed, ...accepted].map(({ closed }) => closed));
const limit = descriptorLimit();
const after = net.dial(listener?.address ?? { path: "" }).then(
  (conn) => conn.abort(),
  (error: Error) => error.message,
);
console.log(
  JSON.stringify({
    limit,
    roomAtFirst,
    most,
    refusal,
    roomAmongListeners,
    roomAgain,
    dialFailure,
    away: turnedAway(),
    after: (await after) ?? "well",
  }),
);
process.exit(0);
