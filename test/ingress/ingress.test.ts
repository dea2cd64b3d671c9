import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createIngress } from "../../src/ingress/ingress.ts";
import { upgrade } from "../../src/ingress/upgrade.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Conn, DialOptions } from "../../src/net/types.ts";
import { bytes, ending, later, net, read, scripted } from "../support/conns.ts";
import { accepted, fakeIngress, refused } from "../support/fake-ingress.ts";
import { issue, rootCa } from "../support/pki.ts";

const target = { host: "hello.demo", port: 80 };
const patience = (): AbortSignal => new AbortController().signal;

describe("upgrade", () => {
  test("finds the answer and the stream's first bytes, however they are cut", async () => {
    const cuts = fc.array(fc.nat({ max: 80 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 40 }),
        cuts,
        fc.boolean(),
        async (stream, cuts, promises) => {
          const all = Buffer.concat([accepted(["mind the gap"]), stream]);
          const at = [0, ...cuts.map((cut) => Math.min(cut, all.length)), all.length].sort(
            (a, b) => a - b,
          );
          const chunks = at
            .slice(1)
            .map((end, i) => all.subarray(at[i], end))
            .filter(({ length }) => length > 0);
          const conn = scripted(chunks, "FIN", promises);
          const { kind, notices } = await upgrade(conn, target, patience());
          expect({ kind, notices, fate: conn.fate }).toEqual({
            kind: "accepted",
            notices: ["mind the gap"],
            fate: "open",
          });
          // The bytes after the response are still to be read.
          const rest: Uint8Array[] = [];
          for (let chunk = await conn.read(); chunk !== null; chunk = await conn.read())
            rest.push(chunk);
          expect(Buffer.concat(rest).equals(stream)).toBe(true);
        },
      ),
    );
  });

  test("sends one request and nothing else", async () => {
    const conn = scripted([accepted()], "silence");
    await upgrade(conn, target, patience());
    expect(conn.written.map((chunk) => Buffer.from(chunk).toString("hex"))).toEqual([
      `0e000a0a${Buffer.from("hello.demo").toString("hex")}1050`,
    ]);
  });

  test("returns a refusal as a value, and lets go of the connection", async () => {
    const conn = scripted([refused("ERR_NGROK_3200", "offline")], "silence");
    const opened = await upgrade(conn, target, patience());
    expect(opened).toEqual({
      kind: "refused",
      code: "ERR_NGROK_3200",
      message: "offline",
      notices: [],
    });
    expect(conn.fate).toBe("closed");
  });

  test("takes an empty answer for a yes, and keeps the bytes behind it", async () => {
    const conn = scripted([Buffer.of(0, 0), bytes("220 ready")], "FIN");
    const opened = await upgrade(conn, target, patience());
    expect({ ...opened, conn: conn.fate }).toEqual({
      kind: "accepted",
      endpointId: "",
      proto: "",
      notices: [],
      conn: "open",
    });
    expect(await read(conn)).toBe("220 ready");
  });

  test.each([
    [
      "nothing",
      [],
      "tls",
      /closed the connection without an answer; it usually means that it does not know this client certificate/,
    ],
    ["half a length", [Buffer.of(9)], "tls", /closed the connection without an answer/],
    [
      "half an answer",
      [Buffer.of(9, 0, 1)],
      "protocol",
      /closed the connection in the middle of its answer/,
    ],
    [
      "an answer that is no protobuf",
      [Buffer.of(2, 0, 0xff, 0xff)],
      "protocol",
      /sent an invalid answer for "hello.demo": its 2 bytes/,
    ],
  ] as const)(
    "rejects if the ingress sends %s and closes",
    async (_name, chunks, code, message) => {
      const conn = scripted(chunks, "FIN");
      const error = await failure(upgrade(conn, target, patience()));
      expect(error.code).toBe(code);
      expect(conn.fate).toBe("aborted");
      expect(error.message).toMatch(message);
    },
  );

  test.each([
    ["tls", "The ingress refused our client certificate: no"],
    ["aborted", "The ingress reset the connection before it had answered"],
  ] as const)(
    "tells what a connection that breaks by %s before the answer means",
    async (code, message) => {
      const conn = Object.assign(scripted([], "FIN"), {
        read: () => Promise.reject(new NgrokdError(code, "no", { details: { a: 1 } })),
      });
      const error = await failure(upgrade(conn, target, patience()));
      expect(error).toMatchObject({ code, message });
      expect(error.details).toEqual({ a: 1 });
      expect(conn.fate).toBe("aborted");
      expect(error.hint).toMatch(/`ngrokd (status|doctor)`/);
    },
  );

  test("gives up with the signal's reason, before and while it waits", async () => {
    const conn = scripted([], "silence");
    const late = new AbortController();
    const waiting = failure(upgrade(conn, target, late.signal));
    late.abort(new Error("too late"));
    expect((await waiting).message).toBe("too late");
    expect(conn.fate).toBe("aborted");

    const untouched = scripted([accepted()], "silence");
    expect(
      (await failure(upgrade(untouched, target, AbortSignal.abort(new Error("never mind")))))
        .message,
    ).toBe("never mind");
    expect(untouched.written).toEqual([]);
    expect(untouched.fate as string).toBe("aborted");
  });
});

describe("createIngress, over real TLS", () => {
  test("asks for host and port and carries the stream", async () => {
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(Buffer.concat([accepted(), bytes("welcome ")]));
      await conn.write(bytes(await read(conn)));
      conn.close();
    });
    const opened = await createIngress(net, () => ingress.settings).open(target, patience());
    if (opened.kind !== "accepted") throw new Error(opened.message);
    await opened.conn.write(bytes("and back"));
    opened.conn.closeWrite();
    expect(await read(opened.conn)).toBe("welcome and back");
    expect(ingress.requests).toEqual([target]);
  });

  test("dials through the proxy that its settings name, TLS being with the ingress", async () => {
    const asked: DialOptions[] = [];
    const dial: typeof net.dial = async (_address, options = {}) => {
      asked.push(options);
      throw new NgrokdError("network", "not here");
    };
    const via = { kind: "socks5", host: "proxy.test", port: 1080 } as const;
    const settings = {
      host: "ingress.test",
      port: 443,
      cert: "",
      key: "",
      ca: [],
      insecureSkipVerify: false,
      resume: true,
    };
    for (const way of [via, undefined]) {
      await failure(
        createIngress({ ...net, dial }, () => ({ ...settings, via: way })).open(target, patience()),
      );
    }
    expect(asked.map(({ via, tls }) => [via, tls?.serverName])).toEqual([
      [via, "ingress.test"],
      [undefined, "ingress.test"],
    ]);
  });

  test("reads its settings again for every connection", async () => {
    await using ingress = await fakeIngress((conn) => conn.write(accepted()));
    const { ca: right, ...rest } = ingress.settings;
    const wrong = [(await rootCa("Another")).cert];
    const cas = [wrong, right];
    const { open } = createIngress(net, () => ({ ...rest, ca: cas.shift() ?? [] }));
    const error = await failure(open(target, patience()));
    expect(error.code).toBe("tls");
    expect(error.details.reason).toBe("SELF_SIGNED_CERT_IN_CHAIN");
    expect(ingress.requests).toEqual([]);
    const opened = await open(target, patience());
    expect(opened.kind).toBe("accepted");
    if (opened.kind === "accepted") opened.conn.abort();
  });

  test("names our certificate as the cause if the ingress refuses it", async () => {
    await using ingress = await fakeIngress(() => undefined);
    const foreign = await issue(await rootCa("Another"), "operator", { usage: ["client"] });
    const error = await failure(
      createIngress(net, () => ({ ...ingress.settings, ...foreign })).open(target, patience()),
    );
    // The way in which the server's TLS closes decides which of the three it
    // is.
    expect(error.message).toMatch(
      /^The ingress (?:refused our client certificate: |closed the connection without an answer|reset the connection)/,
    );
    expect(error.hint).toMatch(/`ngrokd (status|doctor)`/);
  });

  test("closes the socket at the deadline, so that the ingress sees it go", async () => {
    const asked = Promise.withResolvers<void>();
    const seen = Promise.withResolvers<string>();
    await using ingress = await fakeIngress((conn) => {
      asked.resolve();
      return ending(conn).then(seen.resolve);
    });
    const deadline = new AbortController();
    const opening = failure(
      createIngress(net, () => ingress.settings).open(target, deadline.signal),
    );
    await asked.promise;
    deadline.abort(new DOMException("too late", "TimeoutError"));
    expect((await opening).name).toBe("TimeoutError");
    expect(await seen.promise).toBe("aborted");
  });

  test("tries a dead connection's request again, unless early bytes left with it", async () => {
    const left: string[] = [];
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      left.push(Buffer.from(behind).toString());
      // The first request on each pool meets a dead connection.
      if (left.length === 2) await conn.write(accepted());
      else conn.abort();
    });
    const pooled = async () => {
      const limits = { min: 1, max: 1, idleTimeoutMs: 60_000 };
      const one = createIngress(
        net,
        () => ingress.settings,
        () => limits,
      );
      one.prepare();
      while (one.stats.ready === 0) await later(2);
      return one;
    };
    const silent = await pooled();
    expect((await silent.open(target, patience(), { early: () => undefined })).kind).toBe(
      "accepted",
    );
    expect(silent.stats.retries).toBe(1);
    silent.close();
    const eager = await pooled();
    const error = await failure(eager.open(target, patience(), { early: () => bytes("eager") }));
    expect(error.code).toBe("aborted");
    expect(eager.stats.retries).toBe(0);
    eager.close();
    expect(left).toEqual(["", "", "eager"]);
  });

  test("passes on the errors of its settings and of a dial", async () => {
    const cannot = createIngress(net, () => {
      throw new Error("not registered");
    });
    expect((await failure(cannot.open(target, patience()))).message).toBe("not registered");
    await using ingress = await fakeIngress(() => undefined);
    const { settings } = ingress;
    await ingress[Symbol.asyncDispose]();
    await later(1);
    expect((await failure(createIngress(net, () => settings).open(target, patience()))).code).toBe(
      "network",
    );
  });
});

describe("the trouble of an ingress", () => {
  /** Accepts and sends no byte, as with a firewall that drops the packets. */
  async function silence() {
    const conns: Conn[] = [];
    const listener = await net.listen(
      { host: "127.0.0.1", port: 0 },
      (conn) => void conns.push(conn),
    );
    const { port } = listener.address as { port: number };
    return {
      port,
      [Symbol.dispose]() {
        listener.close();
        for (const conn of conns) conn.abort();
      },
    };
  }
  const within = (ms: number): AbortSignal => {
    const limit = new AbortController();
    setTimeout(() => limit.abort(new NgrokdError("timeout", `No answer within ${ms} ms`)), ms);
    return limit.signal;
  };

  test("is reported if a dial runs out of time, and not if it is cancelled or had none", async () => {
    await using ingress = await fakeIngress(() => undefined);
    using swallowed = await silence();
    const tried = createIngress(net, () => ({ ...ingress.settings, port: swallowed.port }));
    const left = new AbortController();
    setTimeout(() => left.abort(new NgrokdError("cancelled", "The client left")), 600);
    await failure(tried.open(target, left.signal));
    expect(tried.trouble).toBeUndefined();
    // If the machine stalls, a dial has time enough, and shows nothing here.
    let tookMs = Number.POSITIVE_INFINITY;
    while (tookMs >= 500) {
      const hurried = createIngress(net, () => ({ ...ingress.settings, port: swallowed.port }));
      const began = performance.now();
      await failure(hurried.open(target, within(50)));
      tookMs = performance.now() - began;
      if (tookMs < 500) expect(hurried.trouble).toBeUndefined();
    }
    await failure(tried.open(target, within(1500)));
    expect(tried.trouble).toMatchObject({
      code: "timeout",
      message: `Cannot connect to "127.0.0.1:${swallowed.port}": no answer in time`,
      hint: expect.stringContaining("firewall"),
    });
  });

  test("is none if a dial fails late, after a later one has succeeded", async () => {
    await using ingress = await fakeIngress((conn) => conn.write(accepted()));
    using swallowed = await silence();
    let { port } = swallowed;
    const tried = createIngress(net, () => ({ ...ingress.settings, port }));
    const early = failure(tried.open(target, within(1500)));
    await later(5);
    ({ port } = ingress.settings);
    expect((await tried.open(target, patience())).kind).toBe("accepted");
    await early;
    expect(tried.trouble).toBeUndefined();
  });

  test("ends once the ingress is back, without requests and without a pool", async () => {
    await using ingress = await fakeIngress(() => undefined);
    using swallowed = await silence();
    let { port } = swallowed;
    const tried = createIngress(net, () => ({ ...ingress.settings, port }));
    await failure(tried.open(target, within(1500)));
    expect(tried.trouble).toBeDefined();
    ({ port } = ingress.settings);
    const { dials } = tried.stats;
    tried.prepare();
    while (tried.trouble !== undefined) await later(2);
    tried.prepare();
    await later(1);
    expect(tried.stats.dials - dials).toBe(1);
    expect(tried.stats.ready).toBe(0);
  });
});

/**
 * The error of a rejection. It is an NgrokdError in most cases. For a signal it
 * is any value of the caller.
 */
async function failure(work: Promise<unknown>): Promise<NgrokdError> {
  return (await work.then(
    () => new Error("it worked"),
    (error: unknown) => error,
  )) as NgrokdError;
}
