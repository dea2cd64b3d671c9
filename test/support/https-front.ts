import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer } from "node:tls";
import { issue, rootCa } from "./pki.ts";
import { atEnd } from "./story.ts";

/**
 * Puts an https server for the name `host` before an http server, and returns
 * its port. Its certificate is signed by the CA in `caFile`.
 */
export async function httpsFront(url: string, host: string, caFile: string): Promise<number> {
  const ca = await rootCa("Story API CA");
  writeFileSync(caFile, ca.cert);
  const port = Number(new URL(url).port);
  const server = createServer(
    await issue(ca, host, { names: [host], usage: ["server"] }),
    (socket) => {
      const inner = connect(port, "127.0.0.1");
      socket.on("error", () => inner.destroy()).pipe(inner);
      inner.on("error", () => socket.destroy()).pipe(socket);
    },
  );
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  atEnd(() => server.close());
  return (server.address() as { port: number }).port;
}
