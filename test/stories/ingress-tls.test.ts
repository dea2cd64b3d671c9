import { beforeAll, expect, test } from "bun:test";
import { createPrivateKey } from "node:crypto";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type TLSSocket, type TlsOptions } from "node:tls";
import { decodeConnRequest } from "../../src/ingress/frame.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { accepted } from "../support/fake-ingress.ts";
import { type Daemon, run, serve, start, writeConfig } from "../support/ngrokd.ts";
import { type Authority, hours, issue, rootCa } from "../support/pki.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, peer } from "../support/tcp.ts";

interface Strict {
  readonly port: number;
  /**
   * The bytes of the TLS server's clients after their handshake, except for
   * answered requests.
   */
  readonly heard: () => string;
  /**
   * Each client: its certificate's common name or organisation, SNI and TLS
   * version.
   */
  readonly clients: { readonly who: string; readonly sni: string; readonly version: string }[];
}

/** An ingress with the TLS options `tls`, which accepts and echoes. */
async function strictIngress(tls: TlsOptions): Promise<Strict> {
  let heard = "";
  const clients: Strict["clients"] = [];
  const serve = async (socket: TLSSocket): Promise<void> => {
    socket.on("data", (bytes: Buffer) => {
      heard += bytes.toString("latin1");
    });
    const { subject } = socket.getPeerCertificate();
    clients.push({
      who: String(subject?.CN ?? subject?.O ?? "nobody"),
      sni: String(socket.servername ?? ""),
      version: socket.getProtocol() ?? "",
    });
    const client = peer(socket);
    const length = Buffer.from(await client.read(2), "latin1").readUInt16LE();
    const request = decodeConnRequest(Buffer.from(await client.read(length), "latin1"));
    if (!request.ok) throw new Error(request.reason);
    await client.write(accepted());
    await client.write(await client.read("hello".length));
    client.end();
  };
  const server = createServer(
    { allowHalfOpen: true, requestCert: true, rejectUnauthorized: false, ...tls },
    (socket) => {
      // Clients that hang up, as most of these must.
      serve(socket as TLSSocket).catch(() => socket.destroy());
    },
  );
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  atEnd(() => server.close());
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    heard: () => heard,
    clients,
  };
}

let cloud: Cloud;
let daemon: Daemon;
let ca: Authority;
const name = "ingress.story";

/** Restarts the daemon with this ingress. */
const facing = async (ingressEndpoint: string, forward: object = {}): Promise<void> => {
  await daemon.stop();
  writeConfig(
    configFor(cloud, {
      ingressEndpoint,
      server: { ingress_ca: "/run/tls-ca.crt" },
      forward: { pool: { min: 0, max: 0 }, ...forward },
    }),
  );
  daemon = await serve();
  await daemon.becomes("hello.demo", "listening");
};
/**
 * The result of a connection whose client speaks first: its echo, or the
 * error.
 */
const attempt = async (): Promise<{ echo?: string; error?: string }> => {
  const errors = (await daemon.endpoint("hello.demo"))?.connections.errors ?? 0;
  const client = await dial("hello.demo", 7000);
  client.write("hello").catch(() => undefined);
  client.end();
  const echo = await client.rest().catch(() => undefined);
  if (echo !== undefined) return { echo };
  const item = await until("the failure is counted", async () => {
    const now = await daemon.endpoint("hello.demo");
    return now?.connections.errors === errors + 1 && now;
  });
  return { error: item.connections.last_error };
};

const forServers = { names: [name], usage: ["server"] } as const;

const begin = async () => {
  ca = await rootCa("Story CA");
  writeFileSync("/run/tls-ca.crt", ca.cert);
  // While no daemon writes that file. Of two concurrent writers one loses.
  appendFileSync("/etc/hosts", `\n127.0.0.1 ${name} other.story\n`);
  ({ cloud, daemon } = await registered());
  await cloud.add("tcp://hello.demo:7000", "127.0.0.1:9");
};

stories("the certificate and the name of the ingress", () => {
  beforeAll(begin);

  test.each([
    [
      "of another name",
      async () => await issue(ca, "x", { ...forServers, names: ["elsewhere.story"] }),
      /for another name/,
    ],
    [
      "of an unknown CA",
      async () => await issue(await rootCa("Stranger"), "x", forServers),
      /issued by "CN=Stranger/,
    ],
    [
      "that has expired",
      async () =>
        await issue(ca, "x", { ...forServers, notBefore: hours(-48), notAfter: hours(-1) }),
      /expired/,
    ],
    [
      "that is not valid yet",
      async () => await issue(ca, "x", { ...forServers, notBefore: hours(1) }),
      /not valid yet/,
    ],
    [
      "that is meant for clients",
      async () => await issue(ca, "x", { ...forServers, usage: ["client"] }),
      /not meant for servers/,
    ],
    [
      "whose name is its common name alone",
      async () => await issue(ca, name, { usage: ["server"] }),
      /no alternative name/,
    ],
    [
      "signed with SHA-1",
      async () => await issue(ca, "x", { ...forServers, hash: "SHA-1" }),
      /signed with SHA-1/,
    ],
    [
      "with an RSA key of 1024 bits",
      async () => await issue(ca, "x", { ...forServers, key: "RSA-1024" }),
      /less than 2048 bits/,
    ],
  ])(
    "an ingress with a certificate %s is refused, and gets no byte of the client's",
    async (_, identity, reason) => {
      const ingress = await strictIngress(await identity());
      await facing(`${name}:${ingress.port}`);
      const { echo, error } = await attempt();
      expect(echo).toBeUndefined();
      expect(error).toMatch(reason);
      expect(ingress.heard()).toBe("");
    },
  );

  test("the name that is verified and sent as SNI is the one of `ingressEndpoint`", async () => {
    const ingress = await strictIngress(await issue(ca, "x", forServers));
    await facing(`${name}:${ingress.port}`);
    expect(await attempt()).toEqual({ echo: "hello" });
    expect(ingress.clients.map(({ sni }) => sni)).toEqual([name]);
    // The same server under another name of its address counts as another
    // server.
    await facing(`other.story:${ingress.port}`);
    expect((await attempt()).error).toContain("for another name");
    expect(ingress.clients).toHaveLength(1);
  });
});

stories("TLS versions, and our certificate", () => {
  beforeAll(begin);

  test.each(["1.2", "1.3"])(
    "an ingress of TLS %s that refuses our certificate by an alert is reported so",
    async (version) => {
      const { cert, key } = await issue(ca, "x", forServers);
      writeFileSync("/run/server.pem", `${cert}${key}`);
      writeFileSync("/run/other-ca.crt", (await rootCa("Other clients")).cert);
      // OpenSSL's own server, since those of Bun and Node hang up without the
      // alert.
      const options = `-tls${version.replace(".", "_")} -cert /run/server.pem -CAfile /run/other-ca.crt -Verify 1 -verify_return_error -www`;
      const server = start("openssl s_server", [
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:4433",
        ...options.split(" "),
      ]);
      await until("it accepts", () => server.out().includes("ACCEPT"));
      await facing(`${name}:4433`);
      expect((await attempt()).error).toContain('refused it with the alert "unknown ca"');
      expect(server.out()).not.toContain("hello");
      await server.stop();
    },
  );

  test.each(["TLSv1.2", "TLSv1.3"] as const)(
    "an ingress that speaks nothing but %s carries connections",
    async (version) => {
      const ingress = await strictIngress({
        ...(await issue(ca, "x", forServers)),
        minVersion: version,
        maxVersion: version,
      });
      await facing(`${name}:${ingress.port}`);
      expect({ first: await attempt(), second: await attempt() }).toEqual({
        first: { echo: "hello" },
        second: { echo: "hello" },
      });
      expect(ingress.clients.map((client) => client.version)).toEqual([version, version]);
    },
  );

  test.each([
    ["the key exchange of RSA", "AES128-GCM-SHA256"],
    ["CBC", "ECDHE-RSA-AES128-SHA"],
  ])("an ingress of TLS 1.2 that knows nothing but %s is refused", async (_, ciphers) => {
    const identity = await issue(ca, "x", { ...forServers, key: "RSA-2048" });
    const ingress = await strictIngress({ ...identity, maxVersion: "TLSv1.2", ciphers });
    await facing(`${name}:${ingress.port}`);
    expect((await attempt()).error).toContain("over TLS");
    expect(ingress.clients).toEqual([]);
    // The same server with a suite of today is used.
    const fine = "ECDHE-RSA-AES128-GCM-SHA256";
    const better = await strictIngress({ ...identity, maxVersion: "TLSv1.2", ciphers: fine });
    await facing(`${name}:${better.port}`);
    expect(await attempt()).toEqual({ echo: "hello" });
  });

  test("an ingress that speaks nothing newer than TLS 1.1 is refused", async () => {
    const ingress = await strictIngress({
      ...(await issue(ca, "x", forServers)),
      minVersion: "TLSv1",
      maxVersion: "TLSv1.1",
    });
    await facing(`${name}:${ingress.port}`);
    expect((await attempt()).error).toBeDefined();
    expect(ingress.clients).toEqual([]);
  });

  test.each([
    ["P-256 in PKCS #8", "ec -pkeyopt ec_paramgen_curve:prime256v1", "pkcs8"],
    ["P-256 in SEC 1", "ec -pkeyopt ec_paramgen_curve:prime256v1", "sec1"],
    ["P-384 in SEC 1", "ec -pkeyopt ec_paramgen_curve:secp384r1", "sec1"],
    ["RSA in PKCS #8", "rsa:2048", "pkcs8"],
    ["RSA in PKCS #1", "rsa:2048", "pkcs1"],
  ] as const)(
    "a key of %s that lies there with its certificate is used as it is",
    async (label, algorithm, type) => {
      const [key, cert] = ["/etc/ngrokd/tls.key", "/etc/ngrokd/tls.crt"];
      const made = await run(
        `openssl req -x509 -newkey ${algorithm} -nodes -days 30 -keyout /run/new.key -out /run/new.crt`
          .split(" ")
          .concat("-subj", `/O=${label}`),
      );
      expect(made.code).toBe(0);
      const ingress = await strictIngress(await issue(ca, "x", forServers));
      await daemon.stop();
      writeFileSync(
        key,
        createPrivateKey(readFileSync("/run/new.key")).export({ type, format: "pem" }),
        { mode: 0o600 },
      );
      writeFileSync(cert, readFileSync("/run/new.crt"));
      await facing(`${name}:${ingress.port}`);
      expect(await attempt()).toEqual({ echo: "hello" });
      expect(ingress.clients.map(({ who }) => who)).toEqual([label]);
    },
  );
});
