/**
 * Adopts the listener that is this process's descriptor 3, as systemd passes
 * one on. Sends the addresses to its first client, closes the listener, and
 * ends.
 */
import { createBunNet } from "../../../src/net/bun.ts";
import { addressText } from "../../../src/net/types.ts";

const served = Promise.withResolvers<void>();
const listener = await createBunNet().adopt(3, async (conn) => {
  const said = { listener: addressText(listener.address), conn: addressText(conn.local) };
  await conn.write(new TextEncoder().encode(JSON.stringify(said)));
  conn.close();
  await conn.closed;
  listener.close();
  served.resolve();
});
await served.promise;
