import { describe, expect, test } from "bun:test";
import { lacking } from "../../src/desk/waiting.ts";
import { item } from "../cli/support.ts";
import { host } from "../machine/support.ts";

const health = (reason: string, healthy = true) => ({
  healthy,
  ready: reason === "",
  reason,
  address: "",
});
const a = { host: host("a.demo"), port: undefined };

describe("lacking", () => {
  test.each([
    ["nothing, if the daemon is ready", health(""), undefined],
    ["readiness", health("no key"), "the daemon is not ready: no key"],
    ["health", health("stuck", false), "the daemon is not healthy: stuck"],
  ])("without names: %s", (_case, given, reason) => {
    expect(lacking(given, [], [])).toBe(reason);
  });

  test.each([
    ["a name that listens is enough, whatever ngrok's API does", [item("a")], undefined],
    ["an alias is a name too", [item("b", { aliases: ["a.demo"] })], undefined],
    [
      "a name that is refused",
      [item("a", { state: "refused", reason: "in use" })],
      "http://a.demo is refused: in use",
    ],
    ["a name that is not there", [item("b")], "no endpoint has the name a.demo: no route"],
    [
      "a name that failed",
      [item("a", { state: "failed", reason: "port taken" })],
      "http://a.demo is failed: port taken",
    ],
    [
      "a name of which one endpoint failed",
      [item("a"), item("a", { url: "tcp://a.demo:1", port: 1, state: "failed", reason: "no" })],
      "tcp://a.demo:1 is failed: no",
    ],
    [
      "a name that goes",
      [item("a", { state: "draining" })],
      "no endpoint has the name a.demo: no route",
    ],
    [
      "a name that goes and is there again",
      [item("a", { state: "draining" }), item("a")],
      undefined,
    ],
  ])("%s", (_case, items, reason) => {
    expect(lacking(health("no route"), items, [a])).toBe(reason);
  });

  test("a port is one endpoint's, and an address is a name too", () => {
    const items = [item("a"), item("a", { port: 1, state: "failed", reason: "no" })];
    expect(lacking(health(""), items, [{ ...a, port: 80 }])).toBeUndefined();
    expect(lacking(health(""), items, [{ ...a, port: 81 }])).toBe(
      "no endpoint has the name a.demo:81",
    );
    expect(lacking(health(""), items, [{ host: "127.0.0.2", port: 80 }])).toBeUndefined();
    const second = item("a", { ip6: "fd12::2" });
    expect(lacking(health(""), [second], [{ host: "fd12::2", port: 80 }])).toBeUndefined();
  });

  test("every name counts, and the first missing one is reported", () => {
    const b = { host: host("b.demo"), port: undefined };
    expect(lacking(health(""), [item("a")], [a, b])).toBe("no endpoint has the name b.demo");
  });
});
