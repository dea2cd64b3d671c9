/**
 * Runs with few descriptors. Opens as many listeners as possible, then more
 * connections than possible, and prints the number of those that succeeded.
 */
import { createBunNet } from "../../src/net/bun.ts";
import type { Conn, Listener } from "../../src/net/types.ts";

const net = createBunNet();

const listeners: Listener[] = [];
const accepted: Conn[] = [];
let onAccept: (conn: Conn) => void = (conn) => void accepted.push(conn);
const roomAtFirst = net.descriptors.room(0);
let refusal = "";
while (refusal === "") {
  try {
    listeners.push(await net.listen({ host: "127.0.0.1", port: 0 }, (conn) => onAccept(conn)));
  } catch (error) {
    refusal = (error as Error).message.replace(/^.*: /, "");
  }
}
const most = listeners.length;
const roomAmongListeners = net.descriptors.room(0);
for (const listener of listeners.splice(1)) listener.close();
const roomAgain = net.descriptors.room(0);

const [listener] = listeners;
if (listener === undefined) throw new Error("no listener");
const dialed: Conn[] = [];
for (let i = 0; i < 120; i += 1) dialed.push(await net.dial(listener.address));
const [together, away] = [accepted.length, net.descriptors.turnedAway];
const all = [...dialed, ...accepted];
for (const conn of all) conn.abort();
await Promise.all(all.map(({ closed }) => closed));

// Both ends of a connection, when there is room again.
const taken = Promise.withResolvers<Conn>();
onAccept = taken.resolve;
const last = await net.dial(listener.address);
await last.write(new Uint8Array(1));
const heard = await (await taken.promise).read();
console.log(
  JSON.stringify({
    limit: net.descriptors.limit,
    roomAtFirst,
    most,
    refusal,
    roomAmongListeners,
    roomAgain,
    together,
    away,
    heard: heard?.length,
    awayAfter: net.descriptors.turnedAway - away,
  }),
);
process.exit(0);
