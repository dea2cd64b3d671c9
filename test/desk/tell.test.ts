import { describe, expect, test } from "bun:test";
import { changeLines } from "../../src/desk/tell.ts";
import type { EndpointState } from "../../src/model/state.ts";
import { ip } from "../machine/support.ts";
import { endpoint, meter, unusable } from "./support.ts";

describe("changeLines", () => {
  const a = endpoint("a");
  const texts = (before: EndpointState[], after: EndpointState[]): string[] =>
    changeLines(before, after).map(({ level, text }) => `${level} ${text}`);

  test.each([
    [
      "nothing if only counters have changed",
      [a, unusable],
      [endpoint("a", { meter: meter({ total: 9 }) }), unusable],
      [],
    ],
    [
      "what is new",
      [],
      [a, unusable],
      ["info http://a.demo listens on 127.0.0.2:80", "warn https://*.demo is not served: wildcard"],
    ],
    ["what is gone", [a], [], ["info http://a.demo is gone"]],
    [
      "what fails now",
      [a],
      [endpoint("a", { state: "failed", reason: "taken" })],
      ["warn http://a.demo is not served: taken"],
    ],
    [
      "what works again",
      [endpoint("a", { state: "failed", reason: "taken" })],
      [a],
      ["info http://a.demo listens on 127.0.0.2:80"],
    ],
    [
      "what moved",
      [a],
      [endpoint("a", { ip: ip("127.0.0.9") })],
      ["info http://a.demo listens on 127.0.0.9:80"],
    ],
    [
      "a warning",
      [a],
      [endpoint("a", { warning: "mind" })],
      ["info http://a.demo listens on 127.0.0.2:80", "warn http://a.demo: mind"],
    ],
    [
      "a URL that is none, harmlessly",
      [],
      [endpoint("a", { url: "x\ny", state: "unsupported", reason: "no" })],
      ['warn "x\\ny" is not served: no'],
    ],
    [
      "a pause as no warning, since the user wants it",
      [],
      [endpoint("a", { state: "paused", reason: "it is paused" })],
      ["info http://a.demo is not served: it is paused"],
    ],
    ["no URL at all", [endpoint("a", { url: "" })], [], ["info an endpoint without a URL is gone"]],
  ] as [string, EndpointState[], EndpointState[], string[]][])(
    "reports %s",
    (_name, before, after, lines) => {
      expect(texts(before, after)).toEqual(lines);
    },
  );

  test("reports many changes as numbers", () => {
    const many = Array.from({ length: 21 }, (_, i) => endpoint(`n${i}`));
    expect(texts([], many.slice(1)).length).toBe(20);
    expect(texts([], many)).toEqual([
      "info 21 endpoints new or changed, 0 gone; `ngrokd list` shows them",
    ]);
    expect(texts(many, [unusable])).toEqual([
      "info 1 endpoints new or changed (1 of them not served), 21 gone; `ngrokd list` shows them",
    ]);
  });
});
