import { expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { createIngress } from "../../src/ingress/ingress.ts";
import { type Introduction, introduced } from "../../src/ingress/introduction.ts";
import type { NgrokdError } from "../../src/model/error.ts";
import type { Conn } from "../../src/net/types.ts";
import { later, net } from "../support/conns.ts";
import { type Authority, intermediateCa, issue, rootCa } from "../support/pki.ts";

const root = await rootCa();
const ca = await intermediateCa(root, "Published CA");
const stranger = [(await rootCa("Another")).cert];

const failure = (work: Promise<unknown>): Promise<NgrokdError> =>
  work.then(
    () => {
      throw new Error("it did not fail");
    },
    (error: NgrokdError) => error,
  );

interface Shown {
  readonly by?: Authority;
  readonly chain?: readonly Authority[];
  readonly name?: string;
  readonly notAfter?: Date;
}

/** A dial to a server with this chain, and the count of bytes it has got. */
async function meeting({ by = ca, chain = [ca], name = "localhost", notAfter }: Shown = {}) {
  const leaf = await issue(by, "ingress", {
    names: [name],
    usage: ["server"],
    ...(notAfter && { notAfter }),
  });
  let received = 0;
  const listener = await net.listen(
    { host: "127.0.0.1", port: 0 },
    async (conn) => {
      for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
        received += bytes.length;
    },
    { tls: { cert: leaf.cert + chain.map(({ cert }) => cert).join(""), key: leaf.key } },
  );
  const kept: string[] = [];
  const introduction: Introduction = {
    accepts: (fingerprint256) => fingerprint256 === new X509Certificate(ca.cert).fingerprint256,
    async keep(pem) {
      kept.push(pem);
    },
  };
  const dial = (given: Introduction | undefined = introduction): Promise<Conn> =>
    introduced({ serverName: "localhost", ca: stranger }, given, (tls) =>
      net.dial(listener.address, { tls }),
    );
  return {
    address: listener.address,
    introduction,
    kept,
    dial,
    received: () => received,
    [Symbol.dispose]: () => listener.close(),
  };
}

test("a shown CA with an accepted fingerprint is kept once the server verifies", async () => {
  using server = await meeting();
  (await server.dial()).abort();
  expect(server.kept.map((pem) => new X509Certificate(pem).fingerprint256)).toEqual([
    new X509Certificate(ca.cert).fingerprint256,
  ]);
});

test("without an introduction everything is as before", async () => {
  using server = await meeting();
  const error = await failure(
    introduced({ serverName: "localhost", ca: stranger }, undefined, (tls) =>
      net.dial(server.address, { tls }),
    ),
  );
  expect(error.code).toBe("tls");
  expect(server.kept).toEqual([]);
});

const other = await rootCa("Foreign CA");
test.each<[string, Shown]>([
  ["its leaf is of another CA, and the accepted one is only shown", { by: other }],
  ["its chain has no accepted CA", { by: other, chain: [other] }],
  ["its chain leaves the accepted CA out", { chain: [] }],
  ["its certificate is for another name", { name: "elsewhere.example" }],
  ["its certificate has expired", { notAfter: new Date(Date.now() - 60_000) }],
])("a server is refused, and its CA not kept, if %s", async (_, shown) => {
  using server = await meeting(shown);
  const error = await failure(server.dial());
  expect(error.code).toBe("tls");
  expect({ kept: server.kept, received: server.received() }).toEqual({ kept: [], received: 0 });
});

test("the ingress takes the introduction of its settings", async () => {
  using server = await meeting();
  const { introduction, kept, address } = server;
  if (!("port" in address)) throw new Error("not a TCP listener");
  const client = await issue(root, "operator", { usage: ["client"] });
  const settings = {
    ...client,
    host: "localhost",
    port: address.port,
    ca: stranger,
    insecureSkipVerify: false,
    resume: true,
    introduction,
  };
  const ingress = createIngress(net, () => settings);
  const stop = new AbortController();
  const opening = failure(ingress.open({ host: "a.demo", port: 80 }, stop.signal));
  while (server.received() === 0) await later(5);
  stop.abort();
  await opening;
  ingress.close();
  expect({ kept: kept.length, trouble: ingress.trouble }).toEqual({
    kept: 1,
    trouble: undefined,
  });
});
