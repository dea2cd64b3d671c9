import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import { createCa } from "../../src/local-cloud/ca.ts";
import type { Socket, Stage } from "../../src/net/bun-stage.ts";
import { chainFrom } from "../../src/net/bun-tls.ts";
import { net } from "../support/conns.ts";

test("a dial shows its own certificate, and none of the trusted CAs above it", async () => {
  const [ca, stranger] = await Promise.all(
    [1, 2].map(() => createCa({ clientLifetimeMs: 3_600_000 })),
  );
  if (ca === undefined || stranger === undefined) throw new Error("no CA");
  const key = await createKey();
  const signed = await ca.signClient(await createCsr(key), "client");
  if (!signed.ok) throw new Error(signed.reason);
  const server = await ca.issueServer(["localhost"]);
  const shown = Promise.withResolvers<Uint8Array[]>();
  const listener = Bun.listen<Stage>({
    hostname: "127.0.0.1",
    port: 0,
    // Without our CAs it cannot add them to the chain that it has received.
    tls: {
      cert: server.cert,
      key: server.key,
      ca: stranger.rootPem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    socket: { data() {}, handshake: (socket: Socket) => shown.resolve(chainFrom(socket)) },
  });
  const conn = await net.dial(
    { host: "127.0.0.1", port: listener.port },
    {
      tls: {
        serverName: "localhost",
        ca: [ca.rootPem, ca.intermediatePem],
        cert: signed.value.pem,
        key,
      },
    },
  );
  const subjects = (await shown.promise).map(
    (der) => new X509Certificate(Buffer.from(der)).subject,
  );
  expect([...new Set(subjects)], "subjects of the certificates").toEqual(["CN=client"]);
  conn.abort();
  listener.stop(true);
});
