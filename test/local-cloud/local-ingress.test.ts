import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { connect } from "node:net";
import { encodeConnRequest } from "../../src/ingress/frame.ts";
import { createBunNet } from "../../src/net/bun.ts";
import type { Conn } from "../../src/net/types.ts";
import { issue, rootCa } from "../support/pki.ts";
import {
  ask,
  dialIngress,
  echo,
  misbehave,
  open,
  register,
  startCloud,
  until,
  upstream,
} from "./support.ts";

const bunNet = createBunNet();

/** The seam can send a RST, node:tls cannot. */
async function dialBySeam(
  cloud: Awaited<ReturnType<typeof startCloud>>,
  { cert, key }: { cert: string; key: string },
  host: string,
  port: number,
): Promise<Conn> {
  const ingress = new URL(`tcp://${cloud.ingressAddress}`);
  const tls = { serverName: ingress.hostname, ca: [cloud.intermediatePem], cert, key };
  const address = { host: ingress.hostname, port: Number(ingress.port) };
  const client = await bunNet.dial(address, { tls });
  await client.write(encodeConnRequest({ host, port }));
  return client;
}

describe("a connection through the ingress", () => {
  test("carries a registered client's bytes to the service, and its replies back", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    const { id } = cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const client = await open(cloud, identity, "echo.demo", 7000);
    expect(client.reply).toEqual({
      ok: true,
      value: { kind: "accepted", endpointId: id, proto: "tcp", notices: [] },
    });
    client.write("one ");
    client.write("two");
    client.end();
    expect(await client.rest()).toBe("one two");
  });

  test("passes a half-close on, and the reply that comes after it", async () => {
    const cloud = await startCloud();
    const service = await upstream((socket) => {
      let heard = "";
      socket.on("data", (bytes) => {
        heard += bytes;
      });
      socket.on("end", () => setTimeout(() => socket.end(`heard ${heard}`), 100));
    });
    cloud.addEndpoint({ url: "tcp://late.demo:1", upstream: service });
    const client = await open(cloud, await register(cloud), "late.demo", 1);
    client.write("this");
    client.end();
    expect(await client.rest()).toBe("heard this");
  });

  test("lets a service send first, and keeps a client's early bytes", async () => {
    const cloud = await startCloud();
    const service = await upstream((socket) => {
      socket.write("220 hello\n");
      socket.pipe(socket);
    });
    cloud.addEndpoint({ url: "tcp://mail.demo:25", upstream: service });
    const client = await open(cloud, await register(cloud), "mail.demo", 25, "EHLO me\n");
    client.end();
    expect(client.first + (await client.rest())).toBe("220 hello\nEHLO me\n");
  });

  test("passes a reset on, in both directions", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    let ending: string | undefined;
    const service = await upstream((socket) => {
      socket.on("error", (error) => {
        ending = "code" in error ? String(error.code) : error.message;
      });
      socket.on("data", (bytes) => String(bytes) === "reset yourself" && socket.resetAndDestroy());
    });
    cloud.addEndpoint({ url: "tcp://reset.demo:1", upstream: service });
    const first = await open(cloud, identity, "reset.demo", 1);
    first.write("reset yourself");
    await expect(first.rest()).rejects.toThrow();

    const second = await dialBySeam(cloud, identity, "reset.demo", 1);
    await second.read();
    second.abort();
    await until("the service has seen the reset", () => ending === "ECONNRESET");
  });

  test("closes fully when a service ends first, unless the fault half-close is set", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    let heard = "";
    const service = await upstream((socket) => {
      socket.on("error", () => undefined);
      socket.on("data", (bytes) => {
        heard += bytes;
      });
      socket.end("answer");
    });
    cloud.addEndpoint({ url: "tcp://first.demo:1", upstream: service });
    const goesOn = async () => {
      const client = await dialBySeam(cloud, identity, "first.demo", 1);
      let answer = "";
      for (let bytes = await client.read(); bytes !== null; bytes = await client.read())
        answer += Buffer.from(bytes).toString("latin1");
      expect(answer).toEndWith("answer");
      await client.write(Buffer.from("late"));
      return client;
    };
    expect((await (await goesOn()).closed)?.code).toBe("aborted");
    misbehave(cloud, "half-close*1");
    const client = await goesOn();
    await until("the service has heard it", () => heard === "late");
    client.closeWrite();
    expect((await client.closed)?.code).toBeUndefined();
    expect((await (await goesOn()).closed)?.code).toBe("aborted");
    expect(heard).toBe("late");
  });

  test("carries 16 MiB each way at once without loss", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const client = await open(cloud, await register(cloud), "echo.demo", 7000);
    const sent = createHash("sha256");
    const got = createHash("sha256");
    const writing = (async () => {
      for (let i = 0; i < 64; i += 1) {
        const chunk = Buffer.alloc(256 * 1024, i + 1);
        sent.update(chunk);
        if (!client.socket.write(chunk))
          await new Promise((drained) => client.socket.once("drain", drained));
      }
      client.end();
    })();
    for (let bytes = await client.read(); bytes !== undefined; bytes = await client.read())
      got.update(bytes);
    await writing;
    expect(got.digest("hex")).toBe(sent.digest("hex"));
  });
});

describe("the ingress", () => {
  test("accepts a wildcard's names too", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    cloud.addEndpoint({ url: "https://*.wild.demo", upstream: await echo() });
    expect((await open(cloud, identity, "any.wild.demo", 443)).reply).toMatchObject({
      ok: true,
      value: { kind: "accepted", proto: "https" },
    });
    expect((await open(cloud, identity, "wild.demo", 443)).reply).toMatchObject({
      ok: true,
      value: { kind: "refused" },
    });
  });

  test("refuses unknown endpoints and silent services, with ngrok's codes", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    cloud.addEndpoint({ url: "http://down.demo", upstream: "127.0.0.1:1" });
    const unknown = await open(cloud, identity, "nobody.demo", 80);
    expect(unknown.reply).toMatchObject({
      ok: true,
      value: { kind: "refused", code: "ERR_NGROK_3200" },
    });
    expect(await unknown.rest()).toBe("");
    const endless = await open(cloud, identity, "x".repeat(65_500), 80);
    expect(endless.reply).toMatchObject({
      ok: true,
      value: { kind: "refused", code: "ERR_NGROK_3200" },
    });
    const down = await open(cloud, identity, "down.demo", 80);
    expect(down.reply).toMatchObject({
      ok: true,
      value: { kind: "refused", code: "ERR_NGROK_8012" },
    });
  });

  test("refuses an invalid request, and lives", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    for (const request of [
      Buffer.from([0, 0]),
      Buffer.from([2, 0, 0xff, 0xff]),
      Buffer.from("GET / HTTP/1.1\r\n\r\n".repeat(1500)),
    ]) {
      const client = await dialIngress(cloud, identity);
      client.write(request);
      expect(await client.rest()).toContain("ERR_NGROK_0");
    }
    const silent = await dialIngress(cloud, identity);
    silent.write(Uint8Array.of(9));
    silent.end();
    expect(await silent.rest()).toBe("");
  });

  test("follows endpoints that come, move and go while it runs", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    const saying = (text: string) => upstream((socket) => socket.end(text));
    const hear = async (host: string) => {
      const { reply, first, rest } = await open(cloud, identity, host, 80);
      return reply.ok && reply.value.kind === "accepted" ? first + (await rest()) : "refused";
    };
    const { json } = await ask(cloud, "POST", "/_cloud/endpoints", {
      body: { url: "http://a.demo", upstream: await saying("first") },
    });
    expect(await hear("a.demo")).toBe("first");
    cloud.moveEndpoint(json.id, { upstream: await saying("second") });
    expect(await hear("a.demo")).toBe("second");
    cloud.moveEndpoint(json.id, { url: "http://b.demo" });
    expect(await hear("a.demo")).toBe("refused");
    expect(await hear("b.demo")).toBe("second");
    cloud.removeEndpoint(json.id, { lingers: true });
    expect(await hear("b.demo")).toBe("refused");
  });

  test("close resets open connections and frees the port", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const client = await open(cloud, await register(cloud), "echo.demo", 7000);
    await cloud.close();
    await expect(client.rest()).rejects.toThrow();
    const { hostname: host, port } = new URL(`tcp://${cloud.ingressAddress}`);
    (await bunNet.listen({ host, port: Number(port) }, () => {})).close();
  });
});

describe("clients", () => {
  test("without a certificate, or with another CA's, do not get through TLS", async () => {
    const cloud = await startCloud();
    const stranger = await issue(await rootCa(), "k8sop_stranger");
    for (const identity of [undefined, stranger]) {
      // With TLS 1.3 the client finishes before the server verifies it.
      const outcome = dialIngress(cloud, identity).then((client) => client.rest());
      await expect(outcome).rejects.toThrow();
    }
  });

  test("of a deleted operator are closed before the length bytes, and no others", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const [gone, kept] = [await register(cloud), await register(cloud)];
    const early = await dialIngress(cloud, gone);
    expect((await ask(cloud, "DELETE", `/kubernetes_operators/${gone.id}`)).status).toBe(204);
    for (const client of [early, await dialIngress(cloud, gone)]) {
      client.write(encodeConnRequest({ host: "echo.demo", port: 7000 }));
      expect(await client.rest()).toBe("");
    }
    expect((await open(cloud, kept, "echo.demo", 7000)).reply).toMatchObject({
      value: { kind: "accepted" },
    });
  });

  test("keep their right when a newer certificate was issued", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const old = await register(cloud);
    const { createCsr, createKey } = await import("../../src/cloud/certificate.ts");
    const key = await createKey();
    const { json } = await ask(cloud, "PATCH", `/kubernetes_operators/${old.id}`, {
      body: { binding: { csr: await createCsr(key) } },
    });
    const fresh = { id: old.id, key, cert: json.binding.cert.cert };
    for (const identity of [old, fresh]) {
      expect((await open(cloud, identity, "echo.demo", 7000)).reply).toMatchObject({
        value: { kind: "accepted" },
      });
    }
  });

  test("lose it when the certificate expires", async () => {
    // It expired before it was issued, so there is nothing to wait for.
    const cloud = await startCloud({ certificateLifetimeMs: -1000 });
    const identity = await register(cloud);
    await expect(dialIngress(cloud, identity).then((client) => client.rest())).rejects.toThrow();
  });

  test("that resume a TLS session keep their identity, and are checked again", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
    const identity = await register(cloud);
    const first = await open(cloud, identity, "echo.demo", 7000);
    const session = first.socket.getSession();
    const resumed = () => dialIngress(cloud, identity, cloud.intermediatePem, session);
    const second = await resumed();
    expect(second.socket.isSessionReused()).toBe(true);
    second.write(encodeConnRequest({ host: "echo.demo", port: 7000 }));
    expect((await second.read())?.toString()).toContain("tcp");
    expect((await ask(cloud, "DELETE", `/kubernetes_operators/${identity.id}`)).status).toBe(204);
    const third = await resumed();
    third.write(encodeConnRequest({ host: "echo.demo", port: 7000 }));
    expect(await third.rest()).toBe("");
  });

  test("may trust the root instead, and no other CA", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    (await dialIngress(cloud, identity, cloud.caPem)).end();
    const other = await rootCa();
    await expect(dialIngress(cloud, identity, other.cert)).rejects.toThrow();
  });
});

/** An ingress with a TCP echo behind it. */
const withEcho = async () => {
  const cloud = await startCloud();
  cloud.addEndpoint({ url: "tcp://echo.demo:7000", upstream: await echo() });
  const identity = await register(cloud);
  return { cloud, identity, open: () => open(cloud, identity, "echo.demo", 7000) };
};
const works = async (dial: () => ReturnType<typeof open>) => {
  const client = await dial();
  client.write("still here");
  client.end();
  expect(client.first + (await client.rest())).toBe("still here");
};

describe("the ingress's faults before its response", () => {
  test("tls-reset resets before TLS", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "tls-reset*1");
    const { hostname: host, port } = new URL(`tcp://${cloud.ingressAddress}`);
    const ending = await new Promise((resolve) => {
      const socket = connect({ host, port: Number(port) });
      socket.on("error", (error) => resolve("code" in error ? error.code : error));
      socket.on("end", () => resolve("end"));
    });
    expect(ending).toBe("ECONNRESET");
    await works(open);
  });

  test("tls-stall takes everything and says nothing, until the client leaves", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "tls-stall*1");
    const { hostname: host, port } = new URL(`tcp://${cloud.ingressAddress}`);
    const socket = connect({ host, port: Number(port) });
    let heard = "";
    socket.on("data", (bytes) => {
      heard += bytes;
    });
    const ended = new Promise((resolve) => socket.on("end", () => resolve("end")));
    socket.write("\x16\x03\x01 hello?");
    expect(await Promise.race([ended, Bun.sleep(60)])).toBeUndefined();
    await works(open);
    socket.end();
    expect(await ended).toBe("end");
    expect(heard).toBe("");
  });

  test("header-close closes before the length bytes", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "header-close*1");
    await expect(open()).rejects.toThrow("closed after 0 reads");
    await works(open);
  });

  test("header-silence never replies", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "header-silence*1");
    const silent = open();
    expect(await Promise.race([silent, Bun.sleep(60)])).toBeUndefined();
    silent.catch(() => "ends with the test");
    await until("the first connection has the fault", () => cloud.faults.list().length === 0);
    await works(open);
  });
});

describe("the ingress's faults in its response", () => {
  test("header-garbage sends unreadable bytes, header-cut half of an answer", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "header-garbage*1");
    expect((await open()).reply).toMatchObject({ ok: false });
    misbehave(cloud, "header-cut*1");
    await expect(open()).rejects.toThrow(/closed after [1-9]\d* reads/);
    await works(open);
  });

  test("header-latency delays the response, header-slow sends it byte by byte", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "header-latency=300*1");
    const began = performance.now();
    expect((await open()).reply).toMatchObject({ ok: true });
    expect(performance.now() - began).toBeGreaterThan(290);
    misbehave(cloud, "header-latency=600000*1");
    open().catch(() => "ends with the test");
    await until("the first connection has the fault", () => cloud.faults.list().length === 0);
    await works(open);
    misbehave(cloud, "header-slow=3*1");
    const slow = await open();
    expect(slow.reply).toMatchObject({ ok: true });
    expect(slow.reads).toBeGreaterThan(5);
    await works(open);
  });

  test("header-joined sends the answer and the service's first bytes as one", async () => {
    const cloud = await startCloud();
    const identity = await register(cloud);
    const service = await upstream((socket) => {
      socket.write("I speak first. ");
      socket.pipe(socket);
    });
    cloud.addEndpoint({ url: "tcp://first.demo:1", upstream: service });
    cloud.addEndpoint({ url: "tcp://quiet.demo:1", upstream: await echo() });
    misbehave(cloud, "header-joined=15000*1");
    const joined = await open(cloud, identity, "first.demo", 1);
    expect(joined).toMatchObject({ first: "I speak first. ", reads: 1 });
    joined.write("And I second.");
    joined.end();
    expect(await joined.rest()).toBe("And I second.");
    misbehave(cloud, "header-joined=20*1");
    const quiet = await open(cloud, identity, "quiet.demo", 1);
    quiet.write("nobody spoke first");
    quiet.end();
    expect(await quiet.rest()).toBe("nobody spoke first");
  });

  test("header-joined with a service that closes at once is an accepted, empty stream", async () => {
    const cloud = await startCloud();
    cloud.addEndpoint({
      url: "tcp://empty.demo:1",
      upstream: await upstream((socket) => socket.end()),
    });
    misbehave(cloud, "header-joined");
    const client = await open(cloud, await register(cloud), "empty.demo", 1);
    client.end();
    expect(client.first + (await client.rest())).toBe("");
  });

  test("refuse refuses with any code and message, notice adds a notice", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "refuse=ERR_NGROK_4711 not today, thank you*1", "notice=mind the gap*2");
    expect((await open()).reply).toEqual({
      ok: true,
      value: {
        kind: "refused",
        code: "ERR_NGROK_4711",
        message: "not today, thank you",
        notices: ["mind the gap"],
      },
    });
    misbehave(cloud, "refuse=just a message*1");
    expect((await open()).reply).toMatchObject({
      ok: true,
      value: { kind: "refused", code: "", message: "just a message", notices: ["mind the gap"] },
    });
    await works(open);
  });

  test("stream-reset accepts and then resets", async () => {
    const { cloud, open } = await withEcho();
    misbehave(cloud, "stream-reset*1");
    const client = await open();
    expect(client.reply).toMatchObject({ ok: true, value: { kind: "accepted" } });
    await expect(client.rest()).rejects.toThrow();
    await works(open);
  });
});
