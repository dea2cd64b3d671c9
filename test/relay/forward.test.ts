import { describe, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { createHistory, type History } from "../../src/history/history.ts";
import { createIngress } from "../../src/ingress/ingress.ts";
import type { IngressSettings } from "../../src/ingress/ingress-dialer.ts";
import { bindingsOf } from "../../src/model/binding.ts";
import { countOf, quantile } from "../../src/model/histogram.ts";
import { createMeter, type Meter } from "../../src/model/meter.ts";
import type { Conn } from "../../src/net/types.ts";
import { type ForwardDeps, forward } from "../../src/relay/forward.ts";
import { createQuietWatch } from "../../src/relay/quiet.ts";
import { bytes, ending, later, net, pair, read } from "../support/conns.ts";
import { accepted, type FakeIngress, fakeIngress, refused } from "../support/fake-ingress.ts";
import { memoryLog } from "../support/memory-log.ts";
import { rootCa } from "../support/pki.ts";

const [binding] = bindingsOf([{ id: "ep_1", url: "http://hello.demo", proto: "http" }]).bindings;
if (binding === undefined) throw new Error("no binding");

describe("forward", () => {
  test("asks for host and port, carries both directions, and passes on FIN", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await conn.write(bytes(`<${await read(conn)}>`));
      conn.close();
    });
    const { client, meter, done, log } = await forwarded(ingress);
    await client.write(bytes("question"));
    client.closeWrite();
    expect(await read(client)).toBe("<question>");
    await done;
    expect(ingress.requests).toEqual([{ host: "hello.demo", port: 80 }]);
    expect(counts(meter)).toBe("0 of 1 open, 8 up, 10 down, 0 refused, 0 errors");
    expect(meter.lastError).toBe("");
    expect(Date.now() - meter.lastActivity).toBeWithin(0, 5000);
    expect(log.lines).toEqual([]);
  });

  test("gives the client the bytes in the answer's packet before later ones", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(Buffer.concat([accepted(["old agent", "line\nbreak"]), bytes("220 ")]));
      await conn.write(bytes("ready"));
      conn.close();
    });
    const { client, meter, done, log } = await forwarded(ingress);
    expect(await read(client)).toBe("220 ready");
    client.close();
    await done;
    expect(counts(meter)).toBe("0 of 1 open, 0 up, 9 down, 0 refused, 0 errors");
    expect(log.lines).toEqual(["warn hello.demo:80: ngrok says: old agent; line break"]);
  });

  test("logs a thousand notices in one line, with their number", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted(Array.from({ length: 1000 }, (_, i) => `notice ${i}`)));
      conn.close();
    });
    const { client, done, log } = await forwarded(ingress);
    client.close();
    await done;
    expect(log.lines).toEqual([
      "warn hello.demo:80: ngrok says: notice 0; notice 1; notice 2; and 997 more notices",
    ]);
  });

  test("sends nothing of the client's before the answer", async () => {
    const early = Promise.withResolvers<unknown>();
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      const next = Promise.resolve(conn.read());
      early.resolve([behind.length, await Promise.race([next, later(30)])]);
      await conn.write(accepted());
      await conn.write((await next) ?? bytes("nothing"));
      conn.close();
    });
    const { client, done } = await forwarded(ingress);
    await client.write(bytes("eager"));
    expect(await early.promise).toEqual([0, undefined]);
    client.closeWrite();
    expect(await read(client)).toBe("eager");
    await done;
  });

  test("tells a tap each byte of both directions, and how the connection ended", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await conn.write(bytes(`<${await read(conn, 8)}>`));
      await read(conn);
      conn.close();
    });
    const told: string[] = [];
    const tap = (conn: Conn, { key }: { key: string }) => {
      told.push(`${"host" in conn.remote ? conn.remote.host : ""} to ${key}`);
      return {
        up: (chunk: Uint8Array) => void told.push(`up ${Buffer.from(chunk)}`),
        down: (chunk: Uint8Array) => void told.push(`down ${Buffer.from(chunk)}`),
        end: (whole: boolean) => void told.push(`end ${whole}`),
      };
    };
    const first = await forwarded(ingress, { tap });
    await first.client.write(bytes("question"));
    await read(first.client, 10);
    first.client.closeWrite();
    await first.done;
    const usual = ["127.0.0.1 to hello.demo:80", "up question", "down <question>"];
    expect(told.splice(0)).toEqual([...usual, "end true"]);
    const second = await forwarded(ingress, { tap });
    await second.client.write(bytes("question"));
    await read(second.client, 10);
    second.client.abort();
    await second.done;
    expect(told).toEqual([...usual, "end false"]);
  });

  test("sends the client's first bytes with the request if early data is on", async () => {
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      await conn.write(accepted());
      await conn.write(Buffer.concat([bytes("early: "), behind]));
      await conn.write(bytes(`, later: ${await read(conn)}`));
      conn.close();
    });
    const { client, meter, done } = await forwarded(ingress, { earlyData: true });
    await client.write(bytes("eager"));
    expect(await read(client, 12)).toBe("early: eager");
    await client.write(bytes("patient"));
    client.closeWrite();
    expect(await read(client)).toBe(", later: patient");
    await done;
    expect(counts(meter)).toBe("0 of 1 open, 12 up, 28 down, 0 refused, 0 errors");
    expect(countOf(meter.firstByte)).toBe(1);
  });

  test("sends no more than 16 KiB early, and loses nothing", async () => {
    const data = randomBytes(300_000);
    const early = Promise.withResolvers<number>();
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      // The rest of the request's flight may come in later pieces.
      let seen = behind.length;
      const hash = createHash("sha256").update(behind);
      const answer = later(100).then(() => {
        early.resolve(seen);
        return conn.write(accepted());
      });
      for (let chunk = await conn.read(); chunk !== null; chunk = await conn.read()) {
        seen += chunk.length;
        hash.update(chunk);
      }
      await answer;
      await conn.write(bytes(hash.digest("hex")));
      conn.close();
    });
    const { client, done } = await forwarded(ingress, { earlyData: true });
    await send(client, data);
    expect(await early.promise).toBeWithin(1, 16 * 1024 + 1);
    expect(await read(client)).toBe(sha256(data));
    await done;
  });

  test("keeps bytes that come behind the request until it is answered", async () => {
    const asked = Promise.withResolvers<void>();
    const written = Promise.withResolvers<void>();
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      asked.resolve();
      await written.promise;
      await later(20);
      await conn.write(accepted());
      await conn.write(bytes(`${behind.length} early, ${await read(conn)}`));
      conn.close();
    });
    const { client, done } = await forwarded(ingress, { earlyData: true });
    await asked.promise;
    await client.write(bytes("too late"));
    client.closeWrite();
    written.resolve();
    expect(await read(client)).toBe("0 early, too late");
    await done;
  });

  test("waits for no early bytes if the endpoint speaks first", async () => {
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      await conn.write(Buffer.concat([accepted(), bytes(`${behind.length} 220 ready`)]));
      conn.close();
    });
    const { client, done } = await forwarded(ingress, { earlyData: true });
    expect(await read(client)).toBe("0 220 ready");
    client.close();
    await done;
  });

  test("lets each direction go on after the other one has ended", async () => {
    await using slow = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await read(conn);
      await later(30);
      await conn.write(bytes("at last"));
      conn.close();
    });
    const one = await forwarded(slow);
    one.client.closeWrite();
    expect(await read(one.client)).toBe("at last");
    await one.done;

    const heard = Promise.withResolvers<string>();
    await using curt = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      conn.closeWrite();
      heard.resolve(await read(conn));
      conn.close();
    });
    const two = await forwarded(curt);
    expect(await read(two.client)).toBe("");
    await two.client.write(bytes("and another thing"));
    two.client.closeWrite();
    expect(await heard.promise).toBe("and another thing");
    await two.done;
    expect(counts(one.meter)).toBe("0 of 1 open, 0 up, 7 down, 0 refused, 0 errors");
    expect(counts(two.meter)).toBe("0 of 1 open, 17 up, 0 down, 0 refused, 0 errors");
  });

  test("loses no byte of 8 MiB each way at once", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      const [hash] = await Promise.all([digest(conn), send(conn, data)]);
      expect(hash).toBe(sha256(data));
      conn.close();
    });
    const data = randomBytes(8 * 1024 * 1024);
    const { client, meter, done } = await forwarded(ingress);
    const [hash] = await Promise.all([digest(client), send(client, data)]);
    client.close();
    await done;
    expect(hash).toBe(sha256(data));
    expect(counts(meter)).toBe(
      `0 of 1 open, ${data.length} up, ${data.length} down, 0 refused, 0 errors`,
    );
  });
});

describe("a forward that fails", () => {
  test("resets the client after a refusal, and logs it once, in one line", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(refused("ERR_NGROK_3200", `offline\n${"x".repeat(9999)}`));
      conn.close();
    });
    const { client, meter, done, log } = await forwarded(ingress);
    expect(await ending(client)).toBe("aborted");
    await done;
    expect(counts(meter)).toBe("0 of 1 open, 0 up, 0 down, 1 refused, 0 errors");
    expect(meter.lastError).toMatch(
      /^ERR_NGROK_3200: offline x{400,500} \(the endpoint is offline: start its agent/,
    );
    expect(log.lines).toEqual([`warn hello.demo:80: the ingress refused: ${meter.lastError}`]);
  });

  test("keeps the notices of a refusal", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(refused("ERR_NGROK_1", "no", ["your plan\nends soon", "see the dashboard"]));
      conn.close();
    });
    const { client, meter, done, log } = await forwarded(ingress);
    expect(await ending(client)).toBe("aborted");
    await done;
    expect(meter.lastError).toBe(
      "ERR_NGROK_1: no; ngrok says: your plan ends soon; see the dashboard",
    );
    expect(log.lines).toEqual([`warn hello.demo:80: the ingress refused: ${meter.lastError}`]);
  });

  test("passes a reset on, either way, and keeps it out of the log", async () => {
    const seen = Promise.withResolvers<string>();
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(Buffer.concat([accepted(), bytes("hello")]));
      seen.resolve(await ending(conn));
    });
    const one = await forwarded(ingress);
    await read(one.client, 5);
    one.client.abort();
    expect(await seen.promise).toBe("aborted");
    await one.done;
    expect(counts(one.meter)).toBe("0 of 1 open, 0 up, 5 down, 0 refused, 1 errors");
    expect(one.log.lines.join()).toMatch(
      /^debug hello.demo:80: connection from 127.0.0.1:\d+ reset by the client$/,
    );

    await using rude = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await read(conn, 2);
      conn.abort();
    });
    const two = await forwarded(rude);
    await two.client.write(bytes("hi"));
    expect(await ending(two.client)).toBe("aborted");
    await two.done;
    expect(counts(two.meter)).toBe("0 of 1 open, 2 up, 0 down, 0 refused, 1 errors");
    expect(two.log.lines.join()).toMatch(/^debug .* reset by the ingress$/);
    // If a connection worked at first, its later failure is not a fault of the
    // endpoint.
    expect(one.meter.lastError).toBe("");
    expect(two.meter.lastError).toBe("");
  });

  test("gives up at the deadline", async () => {
    await using ingress = await fakeIngress((conn) => void ending(conn));
    const { client, meter, done, log } = await forwarded(ingress, { openTimeoutMs: 50 });
    expect(await ending(client)).toBe("aborted");
    await done;
    expect(counts(meter)).toBe("0 of 1 open, 0 up, 0 down, 0 refused, 1 errors");
    expect(log.lines).toEqual([
      "warn hello.demo:80: cannot reach the endpoint: No answer from the ingress within 0.05 s",
    ]);
  });

  test("does not wait for the ingress once the client has left", async () => {
    const asked = Promise.withResolvers<void>();
    const seen = Promise.withResolvers<string>();
    await using ingress = await fakeIngress((conn) => {
      asked.resolve();
      void ending(conn).then(seen.resolve);
    });
    const { client, meter, done, log } = await forwarded(ingress);
    await asked.promise;
    client.abort();
    await done;
    expect(await seen.promise).toBe("aborted");
    expect(counts(meter)).toBe("0 of 1 open, 0 up, 0 down, 0 refused, 1 errors");
    expect(log.lines).toEqual([expect.stringMatching(/^debug .* reset by the client$/)]);
  });

  test("reports a failed dial with a hint, and forgets it once a connection works", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      conn.close();
    });
    const settings = { ...ingress.settings };
    const deps = { meter: createMeter(), log: memoryLog() };
    const attempt = async (changed: Partial<IngressSettings>): Promise<string> => {
      const { client, done } = await forwarded({ settings: { ...settings, ...changed } }, deps);
      client.closeWrite();
      const end = await ending(client);
      client.close();
      await done;
      return end;
    };
    expect(await attempt({ ca: [(await rootCa("Another")).cert] })).toBe("aborted");
    expect(deps.meter.lastError).toMatch(
      /the certificate's CA is not trusted; the certificate shown is of "CN=ingress, O=Test", issued by/,
    );
    expect(deps.log.lines.pop()).toMatch(
      /^warn hello.demo:80: cannot reach the endpoint: .* \(hint: this CA is not ngrok's/,
    );
    expect(await attempt({ port: 1 })).toBe("aborted");
    expect(deps.meter.lastError).toStartWith('Cannot connect to "127.0.0.1:1": connection refused');
    expect(await attempt({})).toBe("FIN");
    expect(deps.meter.lastError).toBe("");
    expect(counts(deps.meter)).toBe("0 of 3 open, 0 up, 0 down, 0 refused, 2 errors");
  });

  test("resets a silent connection without blaming the endpoint", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await ending(conn);
    });
    const quiet = createQuietWatch({ idleMs: 30, halfClosedMs: 20, tickMs: 5 });
    const idle = await forwarded(ingress, { quiet });
    expect(await ending(idle.client)).toBe("aborted");
    await idle.done;
    const half = await forwarded(ingress, { quiet });
    half.client.closeWrite();
    expect(await ending(half.client)).toBe("aborted");
    await half.done;
    expect(idle.log.lines).toEqual([
      "warn hello.demo:80: a connection without traffic for 0.03 s was reset",
    ]);
    expect(half.log.lines).toEqual([
      "warn hello.demo:80: a half-closed connection without traffic for 0.02 s was reset",
    ]);
    expect(idle.meter.errorsBy.timeout).toBe(1);
    expect(idle.meter.lastError).toBe("");
  });
});

describe("the meter", () => {
  test("counts failures by their place", async () => {
    const meter = createMeter();
    const failing = async (
      script: Parameters<typeof fakeIngress>[0],
      {
        openTimeoutMs = 5000,
        ...changed
      }: Partial<IngressSettings & Pick<ForwardDeps, "openTimeoutMs">> = {},
    ): Promise<void> => {
      await using ingress = await fakeIngress(script);
      const { client, done } = await forwarded(
        { settings: { ...ingress.settings, ...changed } },
        { meter, openTimeoutMs },
      );
      await ending(client);
      client.abort();
      await done;
    };
    await failing(() => undefined, { port: 1 });
    await failing(() => undefined, { ca: [(await rootCa("Another")).cert] });
    await failing((conn) => conn.close());
    await failing((conn) => conn.abort());
    await failing((conn) => conn.write(bytes("\x04\x00\xff\xff\xff\xff")));
    await failing((conn) => void ending(conn), { openTimeoutMs: 60 });
    await failing(async (conn) => {
      await conn.write(accepted());
      conn.abort();
    });
    expect(meter.errorsBy).toEqual({
      dial: 1,
      tls: 2,
      header: 2,
      timeout: 1,
      reset: 1,
      cut: 0,
      limit: 0,
      misdirected: 0,
      access: 0,
    });
    expect(meter.errors).toBe(7);
  });

  test("counts a stream without TLS's own end as cut, and logs it", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await conn.write(bytes("half of it"));
      // A FIN without close_notify.
      (conn as unknown as { socket: { close(): void } }).socket.close();
    });
    const { client, meter, log, done } = await forwarded(ingress);
    expect(await ending(client)).toBe("aborted");
    client.abort();
    await done;
    expect(meter.errorsBy).toMatchObject({ cut: 1, reset: 0 });
    expect(log.lines).toEqual([
      expect.stringMatching(/^warn hello.demo:80: .* ended without TLS's close_notify/),
    ]);
  });

  test("takes a cut before the answer for a refusal, like any end", async () => {
    await using ingress = await fakeIngress((conn) =>
      (conn as unknown as { socket: { close(): void } }).socket.close(),
    );
    const { client, meter, done } = await forwarded(ingress);
    expect(await ending(client)).toBe("aborted");
    client.abort();
    await done;
    expect(meter.errorsBy).toMatchObject({ tls: 1, cut: 0, header: 0 });
    expect(meter.lastError).toContain("closed the connection without an answer");
  });

  test("counts refusals by ngrok's code, and by no other word that an ingress makes up", async () => {
    const meter = createMeter();
    for (const code of [
      "ERR_NGROK_3200",
      "ERR_NGROK_19002",
      "ERR_NGROK_3200",
      "",
      "__proto__",
      "ERR_NGROK_1\n",
    ]) {
      await using ingress = await fakeIngress(async (conn) => {
        await conn.write(refused(code, "no"));
        conn.close();
      });
      const { client, done } = await forwarded(ingress, { meter });
      await ending(client);
      await done;
    }
    expect(meter.refusedBy).toEqual({ ERR_NGROK_3200: 2, ERR_NGROK_19002: 1, other: 3 });
    expect(meter.refused).toBe(6);
    expect(countOf(meter.upgrade)).toBe(0);
  });

  test("measures the upgrade, and from the request to the first byte", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await later(40);
      await conn.write(accepted());
      await read(conn, 1);
      await later(20);
      await conn.write(bytes("answer"));
      await conn.write(bytes("and more"));
      conn.close();
    });
    const began = performance.now();
    const { client, meter, done } = await forwarded(ingress);
    while (countOf(meter.upgrade) === 0) await later(1);
    const accepting = performance.now() - began;
    // The time before the client's first byte does not count, and neither does
    // the time after the first byte.
    await later(100);
    const asked = performance.now();
    await client.write(bytes("question"));
    client.closeWrite();
    await read(client, 1);
    const answering = performance.now() - asked;
    await read(client);
    client.close();
    await done;
    expect(countOf(meter.upgrade)).toBe(1);
    expect(countOf(meter.firstByte)).toBe(1);
    expect(meter.upgrade.sum * 1000).toBeWithin(39, accepting);
    expect(meter.firstByte.sum * 1000).toBeWithin(19, answering);
    expect(quantile(meter.firstByte, 1)).toBeGreaterThan(0.019);
  });

  test("measures an endpoint that speaks first from the upgrade on", async () => {
    await using eager = await fakeIngress(async (conn) => {
      await conn.write(Buffer.concat([accepted(), bytes("220 ready")]));
      await read(conn);
      conn.close();
    });
    const one = await forwarded(eager);
    while (countOf(one.meter.firstByte) === 0) await later(1);
    const atFirst = one.meter.firstByte.sum;
    await later(60);
    await one.client.write(bytes("too late to count"));
    one.client.closeWrite();
    await read(one.client);
    await one.done;
    expect(countOf(one.meter.firstByte)).toBe(1);
    expect(one.meter.firstByte.sum).toBe(atFirst);
    await using mute = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await read(conn);
      conn.close();
    });
    const two = await forwarded(mute);
    await two.client.write(bytes("hello?"));
    two.client.closeWrite();
    await read(two.client);
    await two.done;
    expect(countOf(two.meter.upgrade)).toBe(1);
    expect(countOf(two.meter.firstByte)).toBe(0);
  });
});

describe("the history of a connection", () => {
  /** How it ended, and the steps that it reached, in their order. */
  const story = ({ past, open }: History): string => {
    const trace = past.at(1);
    if (trace === undefined || open.size > 0) return "it has not ended";
    const { connected, ready, upgraded, firstUp, firstDown, ended } = trace;
    const steps = { connected, ready, upgraded, firstUp, firstDown, ended };
    const reached = Object.entries(steps).filter(([, time]) => time !== undefined);
    const inOrder = reached.sort(([, a = 0], [, b = 0]) => a - b).map(([name]) => name);
    return `${trace.ending}: ${inOrder.join(", ")}; ${trace.bytesUp} up, ${trace.bytesDown} down`;
  };
  const whole = "connected, ready, upgraded, firstUp, firstDown, ended";

  test("that works has all steps, and its bytes", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await conn.write(bytes(`<${await read(conn)}>`));
      conn.close();
    });
    const { client, done, history } = await forwarded(ingress);
    await client.write(bytes("question"));
    client.closeWrite();
    await read(client);
    await done;
    expect(story(history)).toBe(`finished: ${whole}; 8 up, 10 down`);
    expect(history.past.at(1)).toMatchObject({
      from: "dial",
      detail: "",
      endpoint: "hello.demo:80",
    });
  });

  test("that is reset says by whom", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await conn.read();
      await conn.write(bytes("x"));
      conn.abort();
    });
    const { client, done, history } = await forwarded(ingress);
    await client.write(bytes("hi"));
    await ending(client);
    await done;
    expect(history.past.at(1)).toMatchObject({ ending: "reset", detail: "reset by the ingress" });
  });

  test("that never opened stops at the step that failed", async () => {
    const { settings } = await fakeIngress(() => undefined);
    const failing = await forwarded({ settings: { ...settings, port: 1 } });
    await ending(failing.client);
    await failing.done;
    expect(story(failing.history)).toBe("dial: ended; 0 up, 0 down");
    await using mute = await fakeIngress((conn) => void ending(conn));
    // Long enough for the handshake, also on a busy machine.
    const late = await forwarded(mute, { openTimeoutMs: 3000 });
    await ending(late.client);
    await late.done;
    expect(story(late.history)).toBe("timeout: connected, ready, ended; 0 up, 0 down");
    await using rude = await fakeIngress(async (conn) => {
      await conn.write(refused("ERR_NGROK_3200", "not found"));
      conn.close();
    });
    const turned = await forwarded(rude);
    await ending(turned.client);
    await turned.done;
    expect(story(turned.history)).toBe("refused: connected, ready, ended; 0 up, 0 down");
    expect(turned.history.past.at(1)?.detail).toStartWith("ERR_NGROK_3200: not found");
  });

  test("whose client leaves early, or that is silent, is no failure of the endpoint", async () => {
    const asked = Promise.withResolvers<void>();
    await using ingress = await fakeIngress((conn) => {
      asked.resolve();
      void ending(conn);
    });
    const left = await forwarded(ingress);
    await asked.promise;
    left.client.abort();
    await left.done;
    expect(left.history.past.at(1)?.ending).toBe("left");
    await using quietIngress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      await ending(conn);
    });
    const quiet = createQuietWatch({ idleMs: 30, halfClosedMs: 20, tickMs: 5 });
    const silent = await forwarded(quietIngress, { quiet });
    await ending(silent.client);
    await silent.done;
    expect(silent.history.past.at(1)).toMatchObject({
      ending: "silent",
      detail: "nothing moved for 0.03 s",
    });
  });
});

/** One client of hello.demo, and the forward that carries it. */
async function forwarded(
  { settings }: Pick<FakeIngress, "settings">,
  given: Partial<ForwardDeps & { meter: Meter; log: ReturnType<typeof memoryLog> }> = {},
) {
  const {
    meter = createMeter(),
    log = memoryLog(),
    openTimeoutMs = 5000,
    earlyData = false,
    quiet,
    tap,
  } = given;
  const [client, local] = await pair();
  const history = createHistory();
  const deps = {
    account: "default",
    ingress: createIngress(net, () => settings),
    log,
    openTimeoutMs,
    earlyData,
    recorder: history,
    ...(quiet && { quiet }),
    ...(tap && { tap }),
  };
  const done = new Promise<void>((ended) =>
    forward(local, binding as NonNullable<typeof binding>, meter, deps, () => ended()),
  ).finally(history.stop);
  expect(meter.active).toBe(1);
  return { client, meter, log, done, history };
}

const counts = ({ active, total, bytesUp, bytesDown, refused, errors }: Meter): string =>
  `${active} of ${total} open, ${bytesUp} up, ${bytesDown} down, ${refused} refused, ${errors} errors`;

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

async function digest(conn: Conn): Promise<string> {
  const hash = createHash("sha256");
  for (let chunk = await conn.read(); chunk !== null; chunk = await conn.read()) hash.update(chunk);
  return hash.digest("hex");
}

async function send(conn: Conn, data: Uint8Array): Promise<void> {
  for (let at = 0; at < data.length; at += 100_000)
    await conn.write(data.subarray(at, at + 100_000));
  conn.closeWrite();
}
