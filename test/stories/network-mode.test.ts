import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { createServer as createTlsServer } from "node:tls";
import { bridge, ip, type Neighbour, neighbour } from "../support/bridge.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { issue, rootCa } from "../support/pki.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo, resolve } from "../support/tcp.ts";
import { page, web } from "../support/web.ts";

/** A bridge of this machine, and another machine behind it. */
const [here, there, elsewhere] = ["10.9.1.1", "10.9.1.2", "10.9.1.9"];

let cloud: Cloud;
let daemon: Daemon;
let other: Neighbour;
// A client that sends byte by byte needs long on a busy machine.
const forward = { open_timeout: 60 };
const settings = (net: object): void => writeConfig(configFor(cloud, { net, forward }));

/** Asks a URL from the other machine; its name leads to `at`. */
async function asked(url: string, at = here, ...more: string[]): Promise<string> {
  const { hostname, port, protocol } = new URL(url);
  const where = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}:${at}`;
  const curl = ["curl", "--silent", "--show-error", "--max-time", "60", "--resolve", where];
  const { out, err } = await other.run(...curl, ...more, url);
  return out + err;
}

async function begin(net: object): Promise<void> {
  await bridge("br0", here);
  other = await neighbour("neighbour", { on: "br0", there });
  cloud = await startCloud();
  settings(net);
  daemon = await serve();
  await cloud.add("http://one.demo", page("one").address);
  await cloud.add("http://two.demo", page("two").address);
  await daemon.refresh();
  await daemon.becomes("two.demo", "listening");
}

stories("endpoints on one address, for other machines", () => {
  beforeAll(async () => await begin({ listen_interface: "0.0.0.0" }));

  test("two HTTP endpoints share a port, and this machine reaches them as before", async () => {
    expect(await asked("http://one.demo")).toBe("one");
    expect(await asked("http://two.demo")).toBe("two");
    for (const name of ["one.demo", "two.demo"]) {
      expect(await resolve(name)).toStartWith("127.");
      expect((await run(["curl", "--silent", `http://${name}/`])).out).toBe(name.slice(0, 3));
    }
    expect(await daemon.endpoint("one.demo")).toMatchObject({
      local_listener: true,
      network_port: 80,
      listen_interface: "0.0.0.0",
      shared_listener_key: "0.0.0.0:80",
    });
    expect((await daemon.status()).warnings).toContainEqual(
      expect.stringContaining("every machine that reaches this one may connect"),
    );
  });

  test("list, plan, why and doctor know the shared port", async () => {
    expect((await ngrokd("list")).out).toMatch(
      /one\.demo +127\.0\.0\.\d+:80, 0\.0\.0\.0:80 +listening/,
    );
    expect((await ngrokd("plan")).out).toStartWith("Nothing would change; endpoints served: 2.");
    const why = await examine("why one.demo --json");
    expect([why.code, why.out]).toEqual([
      0,
      expect.stringContaining('and for other machines on port 80 of \\"0.0.0.0\\"'),
    ]);
    await until("the doctor finds both good", async () => {
      const levels = (await ngrokd("doctor --json")).json.findings
        .filter(({ check }: { check: string }) => ["names", "listeners"].includes(check))
        .map(({ level }: { level: string }) => level);
      return levels.join() === "ok,ok";
    });
  });

  test("a name that no endpoint has gets a page with 421, and is counted", async () => {
    expect(await asked("http://three.demo", here, "--include")).toStartWith(
      "HTTP/1.1 421 Misdirected Request\r\n",
    );
    expect((await daemon.status()).errors_by_kind.misdirected).toBe(1);
    const metrics = await (await fetch("http://127.0.0.1:8081/metrics")).text();
    expect(metrics).toContain('ngrokd_unknown_host_errors_total{kind="misdirected"} 1\n');
  });

  test("a kept connection serves one endpoint, and ends before another one's request", async () => {
    const client = await dial(here, 80);
    const request = (name: string) => `GET / HTTP/1.1\r\nHost: ${name}\r\n\r\n`;
    await client.write(request("one.demo"));
    expect(await client.read(15)).toStartWith("HTTP/1.1 200 OK");
    await client.write(request("one.demo") + request("two.demo"));
    const rest = await client.rest();
    expect([rest.split("HTTP/1.1 200").length - 1, rest.includes("two")]).toEqual([1, false]);
    client.end();
    const counted = async () => (await daemon.endpoint("one.demo"))?.errors_by_kind;
    await until("it is counted", async () => (await counted())?.misdirected === 1);
  });

  test("a WebSocket and HTTP/2 without TLS go through the shared port", async () => {
    const chat = web({
      fetch: (request, server) =>
        server.upgrade(request) ? undefined : new Response("no WebSocket", { status: 400 }),
      websocket: { message: (socket, message) => void socket.send(`heard: ${message}`) },
    });
    await cloud.add("http://chat.demo", chat.address);
    const h2 = createHttp2Server();
    h2.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.respond({ ":status": 200 });
      stream.end(`h2 ${headers[":authority"]}`);
    });
    const port = await listening(h2);
    await cloud.add("http://grpc.demo", `127.0.0.1:${port}`);
    await daemon.refresh();
    await daemon.becomes("grpc.demo", "listening");
    expect(await asked("http://grpc.demo", here, "--http2-prior-knowledge")).toBe("h2 grpc.demo");
    const script = `
      const socket = new WebSocket("ws://${here}/", { headers: { host: "chat.demo" } });
      socket.onopen = () => socket.send("hello");
      socket.onmessage = ({ data }) => { console.log(data); socket.close(); };`;
    const { out, err } = await other.run(process.execPath, "-e", script);
    expect(out + err).toBe("heard: hello\n");
  });

  test("TLS is led by its name, also in segments of one byte, and is never opened", async () => {
    const root = await rootCa();
    for (const name of ["safe.demo", "other.demo"]) {
      const server = createTlsServer(
        await issue(root, name, { names: [name, `alias.${name}`] }),
        (socket) => {
          socket.on("error", () => undefined);
          socket.end(`I am ${name}`);
        },
      );
      await cloud.add(`tls://${name}`, `127.0.0.1:${await listening(server)}`);
    }
    await daemon.refresh();
    await daemon.becomes("safe.demo", "listening");
    await Bun.write("/run/tmp/root.pem", root.cert);
    const { out, err } = await other.run(process.execPath, "-e", slowTls("safe.demo"));
    expect(out + err).toBe("I am safe.demo");
    const wrong = await asked("https://third.demo", here, "--cacert", "/run/tmp/root.pem");
    expect(wrong).toMatch(/unrecognized name/i);
  });

  test("an alias leads to its endpoint by Host and SNI, from the next reload on", async () => {
    expect(await asked("http://uno", here, "--include")).toStartWith("HTTP/1.1 421 ");
    const alias = { "one.demo": ["uno"], "safe.demo": ["alias.safe.demo"] };
    const net = { listen_interface: "0.0.0.0" };
    writeConfig(configFor(cloud, { net, names: { alias }, forward }));
    await daemon.reload();
    await until("the alias leads there", async () => (await asked("http://uno")) === "one");
    await daemon.refresh();
    expect(await asked("http://one.demo")).toBe("one");
    const script = slowTls("alias.safe.demo");
    const { out, err } = await other.run(process.execPath, "-e", script);
    expect(out + err).toBe("I am safe.demo");
    expect(await daemon.endpoint("one.demo")).toMatchObject({ aliases: ["uno"] });
  });

  test("a TCP endpoint whose port is taken gets one, and keeps it for ever", async () => {
    const echoes = await echo();
    await cloud.add("tcp://a.db.demo:5432", echoes.address);
    await cloud.add("tcp://b.db.demo:5432", echoes.address);
    await daemon.refresh();
    const { network_port: port } = await daemon.becomes("b.db.demo", "listening");
    expect([(await daemon.endpoint("a.db.demo"))?.network_port, port]).toEqual([5432, 9080]);
    for (const where of [5432, 9080]) {
      const client = await dial(here, where);
      await client.write("hi");
      expect(await client.read(2)).toBe("hi");
      client.end();
    }
    const file = JSON.parse(readFileSync("/etc/ngrokd/network_ports.json", "utf8"));
    expect(file).toEqual({ "a.db.demo:5432": 5432, "b.db.demo:5432": 9080 });
    await daemon.stop();
    daemon = await serve();
    expect((await daemon.becomes("b.db.demo", "listening")).network_port).toBe(9080);
  });
});

stories("a port that the Go program gave to an endpoint", () => {
  beforeAll(async () => {
    mkdirSync("/etc/ngrokd", { recursive: true });
    writeFileSync("/etc/ngrokd/network_ports.json", '{"one.demo:80":9333}');
    await begin({ listen_interface: "0.0.0.0" });
  });

  test("leads there, and requests get the endpoint's name as their Host if asked for", async () => {
    const told = web({ fetch: (request) => new Response(request.headers.get("host") ?? "") });
    for (const { id } of await cloud.api("GET", "/endpoints").then(({ endpoints }) => endpoints))
      await cloud.change(id, { upstream: told.address });
    const at = `http://${here}:9333/`;
    const twice = async () => (await other.run("curl", "--silent", at, at)).out;
    expect(await twice()).toBe(`${here}:9333`.repeat(2));
    writeConfig(
      configFor(cloud, { net: { listen_interface: "0.0.0.0" }, forward: { rewrite_host: true } }),
    );
    await daemon.reload();
    expect(await twice()).toBe("one.demo".repeat(2));
    expect(await daemon.endpoint("one.demo")).toMatchObject({ network_port: 9333 });
    expect(await asked("http://one.demo")).toBe("one.demo");
  });
});

stories("a change of where endpoints listen", () => {
  beforeAll(async () => await begin({ listen_interface: "virtual" }));

  test("a reload opens the shared port, and open connections go on", async () => {
    await cloud.add("tcp://talk.demo:7000", (await echo()).address);
    await daemon.refresh();
    await daemon.becomes("talk.demo", "listening");
    const talk = await dial("talk.demo", 7000);
    await talk.write("one");
    expect(await talk.read(3)).toBe("one");
    expect(await asked("http://one.demo")).toContain("curl: (7)");
    settings({ listen_interface: "0.0.0.0" });
    await daemon.reload();
    await until("the neighbour gets in", async () => (await asked("http://one.demo")) === "one");
    await daemon.refresh();
    await talk.write("two");
    expect(await talk.read(3)).toBe("two");
    const away = await dial(here, 7000);
    await away.write("three");
    expect(await away.read(5)).toBe("three");
    settings({ listen_interface: "virtual" });
    await daemon.reload();
    await until("the port is closed", async () =>
      (await asked("http://one.demo")).includes("curl: (7)"),
    );
    for (const client of [talk, away]) {
      await client.write("four");
      expect(await client.read(4)).toBe("four");
      client.end();
    }
    await daemon.refresh();
    expect((await run(["curl", "--silent", "http://one.demo/"])).out).toBe("one");
    expect(await daemon.endpoint("one.demo")).toMatchObject({
      network_port: 0,
      listen_interface: "virtual",
    });
  });

  test("one host alone may be for others, by net.overrides", async () => {
    settings({ listen_interface: "virtual", overrides: { "one.demo": here } });
    await daemon.reload();
    await until("the neighbour gets in", async () => (await asked("http://one.demo")) === "one");
    expect(await asked("http://two.demo", here, "--include")).toStartWith("HTTP/1.1 421 ");
  });

  test("the address of an interface is followed when it changes", async () => {
    settings({ listen_interface: "br0" });
    await daemon.reload();
    await until("the neighbour gets in", async () => (await asked("http://two.demo")) === "two");
    const at = async () => (await daemon.endpoint("two.demo"))?.listen_interface;
    await until("the list has its address", async () => (await at()) === here);
    await ip(`addr add ${elsewhere}/24 dev br0`);
    await ip(`addr del ${here}/24 dev br0`);
    await ip(`addr replace ${elsewhere}/24 dev br0`);
    await until(
      "the neighbour gets in at the new address",
      async () => (await asked("http://two.demo", elsewhere)) === "two",
    );
    await until("the list has the new address", async () => (await at()) === elsewhere);
    await ip(`addr del ${elsewhere}/24 dev br0`);
    const item = await until("the reason is told", async () => {
      const found = await daemon.endpoint("two.demo");
      return found?.warning.includes('the interface "br0" has no address now') && found;
    });
    expect(item).toMatchObject({ state: "listening", network_port: 0, listen_interface: "br0" });
  });
});

/** A TLS client whose every byte travels alone. It prints what it gets. */
const slowTls = (name: string): string => `
  const { connect: plain } = require("node:net");
  const { connect } = require("node:tls");
  const { Duplex } = require("node:stream");
  const socket = plain({ host: "${here}", port: 443, noDelay: true });
  const write = async (chunk) => {
    for (const byte of chunk) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  };
  const thin = new Duplex({
    read() {},
    write: (chunk, _, done) => void write(chunk).then(() => done()),
    final: (done) => { socket.end(); done(); },
  });
  socket.on("data", (chunk) => thin.push(chunk));
  socket.on("end", () => thin.push(null));
  // The end of the TLS session travels byte by byte, too, and may be cut.
  socket.on("error", () => thin.push(null));
  const ca = require("node:fs").readFileSync("/run/tmp/root.pem");
  const tls = connect({ socket: thin, servername: "${name}", ca });
  tls.on("error", (error) => console.log(String(error)));
  tls.pipe(process.stdout);`;

/** Listens on any port of loopback, until the end of the chapter. */
async function listening(server: {
  listen(port: number, host: string, then: () => void): unknown;
  address(): unknown;
  close(): unknown;
}): Promise<number> {
  await new Promise<void>((then) => server.listen(0, "127.0.0.1", then));
  atEnd(() => void server.close());
  return (server.address() as { port: number }).port;
}
