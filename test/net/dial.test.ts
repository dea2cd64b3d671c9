import { describe, expect, test } from "bun:test";
import { NgrokdError } from "../../src/model/error.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { type Attempt, dialEach, interleaved, type Surroundings } from "../../src/net/dial.ts";

const bunNet = createBunNet();

const address = { host: "ingress.test", port: 443 };
const refused = (): NgrokdError => new NgrokdError("network", "connection refused");

describe("interleaved", () => {
  test("takes both families in turn, the resolver's first choice first", () => {
    expect(interleaved(["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"])).toEqual([
      "::1",
      "1.1.1.1",
      "::2",
      "2.2.2.2",
      "::3",
    ]);
    expect(interleaved(["1.1.1.1", "2.2.2.2", "::1"])).toEqual(["1.1.1.1", "::1", "2.2.2.2"]);
    expect(interleaved(["1.1.1.1", "2.2.2.2"])).toEqual(["1.1.1.1", "2.2.2.2"]);
    expect(interleaved([])).toEqual([]);
  });
});

describe("a dial to a name with several addresses", () => {
  test("starts with one, and with the next after each 250 ms without a connection", async () => {
    const world = scene(["::1", "::2", "1.1.1.1"]);
    await world.moment();
    expect(world.log).toEqual(["0 dial ::1"]);
    await world.pass(249);
    expect(world.log).toHaveLength(1);
    await world.pass(1);
    await world.pass(250);
    await world.pass(1000);
    expect(world.log).toEqual(["0 dial ::1", "250 dial 1.1.1.1", "500 dial ::2"]);
    world.attempts.get("1.1.1.1")?.resolve("the second");
    expect(await world.dialing).toBe("the second");
    expect(world.log.slice(3)).toEqual(["1500 give up ::1", "1500 give up ::2"]);
  });

  test("tries the next at once if one is refused, and then waits again", async () => {
    const world = scene(["::1", "::2", "1.1.1.1"]);
    await world.pass(100);
    world.attempts.get("::1")?.reject(refused());
    await world.moment();
    await world.pass(249);
    expect(world.log).toEqual(["0 dial ::1", "100 dial 1.1.1.1"]);
    await world.pass(1);
    expect(world.log.at(-1)).toBe("350 dial ::2");
    world.attempts.get("1.1.1.1")?.resolve("there");
    expect(await world.dialing).toBe("there");
  });

  test("stays with the first one connected, even if its TLS takes longer", async () => {
    const world = scene(["::1", "1.1.1.1"]);
    await world.pass(250);
    world.attempts.get("::1")?.connected();
    await world.pass(5000);
    expect(world.log).toEqual(["0 dial ::1", "250 dial 1.1.1.1", "250 give up 1.1.1.1"]);
    const tls = new NgrokdError("tls", "not trusted");
    world.attempts.get("::1")?.reject(tls);
    expect(await failure(world.dialing)).toBe(tls);
  });

  test("starts no more once one is connected before its turn", async () => {
    const world = scene(["::1", "1.1.1.1"]);
    await world.moment();
    world.attempts.get("::1")?.connected();
    await world.pass(1000);
    expect(world.log).toEqual(["0 dial ::1"]);
    world.attempts.get("::1")?.resolve("there");
    expect(await world.dialing).toBe("there");
    expect(world.timers()).toBe(0);
  });

  test("fails with the last refusal, and at once with anything else", async () => {
    const world = scene(["::1", "1.1.1.1"]);
    const last = refused();
    await world.pass(250);
    world.attempts.get("1.1.1.1")?.reject(refused());
    world.attempts.get("::1")?.reject(last);
    expect(await failure(world.dialing)).toBe(last);

    const other = scene(["::1", "1.1.1.1"]);
    const denied = new NgrokdError("permission", "no");
    await other.moment();
    other.attempts.get("::1")?.reject(denied);
    expect(await failure(other.dialing)).toBe(denied);
    expect(other.log).toEqual(["0 dial ::1"]);
    expect(other.timers()).toBe(0);
  });

  test("is ended by its signal, with all attempts and with the signal's reason", async () => {
    const stop = new AbortController();
    const world = scene(["::1", "1.1.1.1"], stop.signal);
    await world.pass(250);
    const reason = new NgrokdError("timeout", "too late");
    stop.abort(reason);
    expect(await failure(world.dialing)).toBe(reason);
    expect(world.log.slice(2)).toEqual(["250 give up ::1", "250 give up 1.1.1.1"]);
    expect(world.timers()).toBe(0);
  });

  test("looks up no IP address, dials an address once, and needs one", async () => {
    const world = scene(["1.1.1.1", "1.1.1.1"]);
    await world.pass(1000);
    expect(world.log).toEqual(["0 dial 1.1.1.1"]);
    const never: Surroundings = {
      lookup: () => Promise.reject(new Error("asked")),
      later: () => () => undefined,
    };
    expect(await dialEach({ host: "::1", port: 1 }, undefined, async () => "dialed", never)).toBe(
      "dialed",
    );
    const none: Surroundings = { ...never, lookup: async () => [] };
    expect(await failure(dialEach(address, undefined, async () => "dialed", none))).toMatchObject({
      code: "network",
    });
  });

  test("reaches a listener on 127.0.0.1 by localhost in either order of families", async () => {
    for (const host of ["127.0.0.1", "::1"]) {
      const { listener, port } = await listenAlone(host, host === "::1" ? "127.0.0.1" : "::1");
      const both: Surroundings = {
        lookup: async () => [{ address: "::1" }, { address: "127.0.0.1" }],
        later(_ms, call) {
          call();
          return () => undefined;
        },
      };
      const attempt: Attempt<string> = async (target, signal, connected) => {
        const conn = await bunNet.dial(target, signal === undefined ? {} : { signal });
        connected();
        conn.close();
        return "host" in target ? target.host : "";
      };
      expect(await dialEach({ host: "localhost", port }, undefined, attempt, both)).toBe(host);
      listener.close();
    }
  });
});

/** Listens on `host`, at a port where no other program listens on `other`. */
async function listenAlone(host: string, other: string) {
  for (;;) {
    const listener = await bunNet.listen({ host, port: 0 }, (conn) => conn.close());
    const { port } = listener.address as { port: number };
    const foreign = await bunNet.dial({ host: other, port }, {}).catch(() => undefined);
    if (foreign === undefined) return { listener, port };
    foreign.close();
    listener.close();
  }
}

/** A dial with a clock that the test moves. The test also ends its attempts. */
function scene(ips: readonly string[], signal?: AbortSignal) {
  let now = 0;
  let timers: { at: number; call: () => void }[] = [];
  const log: string[] = [];
  const attempts = new Map<
    string,
    { resolve(text: string): void; reject(error: Error): void; connected(): void }
  >();
  const around: Surroundings = {
    lookup: async () => ips.map((ip) => ({ address: ip })),
    later(ms, call) {
      const timer = { at: now + ms, call };
      timers.push(timer);
      return () => {
        timers = timers.filter((one) => one !== timer);
      };
    },
  };
  const attempt: Attempt<string> = (target, stop, connected) => {
    const ip = "host" in target ? target.host : "";
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    log.push(`${now} dial ${ip}`);
    stop?.addEventListener("abort", () => {
      log.push(`${now} give up ${ip}`);
      reject(new NgrokdError("cancelled", "given up"));
    });
    attempts.set(ip, { resolve, reject, connected });
    return promise;
  };
  const dialing = dialEach(address, signal, attempt, around);
  dialing.catch(() => undefined);
  const moment = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const pass = async (ms: number): Promise<void> => {
    await moment();
    now += ms;
    const due = timers.filter(({ at }) => at <= now);
    timers = timers.filter(({ at }) => at > now);
    for (const { call } of due) call();
    await moment();
  };
  return { dialing, log, attempts, pass, moment, timers: () => timers.length };
}

const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => new Error("it worked"),
    (error: unknown) => error,
  );
