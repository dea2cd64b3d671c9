import { describe, expect, test } from "bun:test";
import { createDialer } from "../../src/ingress/last-address.ts";
import { onAbort, type Signal } from "../../src/model/abort.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { lookupFailed } from "../../src/net/errors.ts";
import { hostToLookUp } from "../../src/net/fetch.ts";
import {
  askResolver,
  isLookupFailure,
  resolverSilent,
  watchingResolver,
} from "../../src/net/resolver.ts";
import { type Address, addressText, type Conn, type Net } from "../../src/net/types.ts";

const never = (): Promise<never> => new Promise(() => undefined);
const at = { host: "ingress.test", port: 443 };

/** Work that ends only with its signal. */
const untilAborted = (signal: Signal | undefined): Promise<never> =>
  new Promise((_, reject) => onAbort(signal, () => reject(signal?.reason)));
const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => new Error("expected a failure"),
    (error: Error) => error,
  );

describe("a question to the resolver", () => {
  test("is pending until there is an answer, which may be that there is no such name", async () => {
    expect(askResolver("a.test", never).pending).toBe(true);
    const refused = askResolver("a.test", () => Promise.reject(new Error("ENOTFOUND")));
    await Bun.sleep(0);
    expect(refused.pending).toBe(false);
    expect(askResolver("127.0.0.1", never).pending).toBe(false);
  });

  test("without an answer names the name servers", () => {
    expect(resolverSilent("a.test", ["10.0.0.1", "10.0.0.1", "fe80::1"]).message).toBe(
      'Cannot look up "a.test": the name servers "10.0.0.1" and "fe80::1" do not answer',
    );
    expect(resolverSilent("a.test", []).message).toBe(
      'Cannot look up "a.test": no name server answers',
    );
    expect(isLookupFailure(resolverSilent("a.test"))).toBe(true);
    expect(isLookupFailure(lookupFailed("a.test", new Error("x")))).toBe(true);
  });
});

describe("work that begins with a lookup", () => {
  const patience = { askAfterMs: 5, silenceMs: 10 };

  test("is given up if the name servers are silent", async () => {
    const error = await failure(
      watchingResolver("a.test", undefined, patience, untilAborted, never),
    );
    expect(error.message).toStartWith('Cannot look up "a.test": ');
  });

  test("goes on if they answer, and then has its own deadline", async () => {
    const late = new NgrokdError("timeout", "no answer in time");
    const stop = new AbortController();
    setTimeout(() => stop.abort(late), 60);
    const look = async () => undefined;
    expect(
      await failure(watchingResolver("a.test", stop.signal, patience, untilAborted, look)),
    ).toBe(late);
  });

  test("that meets a deadline while they are silent names them", async () => {
    const stop = new AbortController();
    const long = { askAfterMs: 5, silenceMs: 10_000 };
    const failed = failure(watchingResolver("a.test", stop.signal, long, untilAborted, never));
    setTimeout(() => stop.abort(new NgrokdError("timeout", "no answer in time")), 40);
    const error = await failed;
    expect(error.message).toStartWith('Cannot look up "a.test": ');
  });
});

test("the looked-up host of a URL is its own, or the proxy's", () => {
  const rules = { proxy: undefined, fromEnvironment: false, noProxy: "" };
  const proxied = { ...rules, proxy: { kind: "http", host: "proxy.test", port: 1 } as const };
  expect(hostToLookUp(new URL("https://api.test/"), rules)).toBe("api.test");
  expect(hostToLookUp(new URL("https://[::1]:8/"), rules)).toBe("::1");
  expect(hostToLookUp(new URL("https://api.test/"), proxied)).toBe("proxy.test");
  expect(hostToLookUp(new URL("http://api.test/"), proxied)).toBe("api.test");
});

describe("the ingress's last known address", () => {
  /** A network whose name servers reply, refuse, or are silent. */
  function scene() {
    let mode: "up" | "refuses" | "silent" = "up";
    let now = 0;
    const dials: string[] = [];
    const dial: Net["dial"] = async (address: Address, { signal } = {}) => {
      dials.push(addressText(address));
      const byName = "host" in address && address.host === at.host;
      if (byName && mode === "refuses") throw lookupFailed(at.host, new Error("EAI_AGAIN"));
      if (byName && mode === "silent") return await untilAborted(signal as AbortSignal);
      return { remote: { host: "192.0.2.7", port: 443 } } as Conn;
    };
    const dialer = createDialer({ dial } as unknown as Net, never, () => now);
    return {
      dials,
      become(next: typeof mode) {
        mode = next;
      },
      pass(ms: number) {
        now += ms;
      },
      dial: (options = {}) => dialer(at, options),
    };
  }

  test.each(["refuses", "silent"] as const)(
    "is dialled while the resolver %s, and its name again later",
    async (trouble) => {
      const world = scene();
      await world.dial();
      world.become(trouble);
      await world.dial();
      await world.dial();
      expect(world.dials).toEqual([
        "ingress.test:443",
        "ingress.test:443",
        "192.0.2.7:443",
        "192.0.2.7:443",
      ]);
      world.become("up");
      world.pass(30_000);
      await world.dial();
      expect(world.dials.at(-1)).toBe("ingress.test:443");
    },
  );

  test("is of no use before there is one, nor through a proxy", async () => {
    const world = scene();
    world.become("refuses");
    expect(isLookupFailure(await failure(world.dial()))).toBe(true);
    world.become("up");
    await world.dial();
    world.become("refuses");
    const via = { kind: "http", host: "proxy.test", port: 1 };
    expect(isLookupFailure(await failure(world.dial({ via })))).toBe(true);
    expect(world.dials.filter((place) => place.startsWith("192"))).toEqual([]);
  });
});
