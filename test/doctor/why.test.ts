import { describe, expect, test } from "bun:test";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import type { ApiFacts } from "../../src/doctor/api-findings.ts";
import { judgeAddress } from "../../src/doctor/by-address.ts";
import type { Finding } from "../../src/doctor/finding.ts";
import { meantBy, parseQuestion, type Question } from "../../src/doctor/question.ts";
import { judgeUnknown } from "../../src/doctor/why.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { item } from "../cli/support.ts";
import { endpoint } from "../daemon/support.ts";

/** Unsupported endpoints, as reconcile makes them: only the URL is known. */
const unusable = (url: string): ListItem =>
  item("x", { url, hostname: "", ip: "", port: 0, state: "unsupported", reason: "it is odd" });

function asked(text: string): Question {
  const question = parseQuestion(text);
  if (!question.ok) throw new Error(question.reason);
  return question.value;
}

test("meantBy finds an endpoint by its aliases", () => {
  const list = [item("a", { aliases: ["b.alias"] }), item("c")];
  expect(meantBy({ host: "b.alias", port: undefined }, list)).toEqual(list.slice(0, 1));
  expect(meantBy({ host: "b.alias", port: 81 }, list)).toEqual([]);
});

test("meantBy finds refused and paused endpoints by name or URL", () => {
  const refused = item("a", { state: "refused", ip: "" });
  const paused = item("w", { url: "https://*.team.demo", hostname: "", state: "paused" });
  const list = [refused, paused];
  expect(meantBy({ host: "a.demo", port: undefined }, list)).toEqual([refused]);
  expect(meantBy({ host: "x.team.demo", port: 443 }, list)).toEqual([paused]);
});

describe("meantBy", () => {
  const list = [
    item("one"),
    item("two", { port: 18901, url: "tcp://two.demo:18901" }),
    item("six", { ip: "10.107.0.9", ip6: "fd11::9" }),
    item("gone", { state: "draining" }),
    item("both"),
    ...[
      "http://app.localhost",
      "udp://b.demo:53",
      "HTTP://Big.Demo.",
      "http://zero.demo:0",
      "portless.demo",
      "tcp://both.demo:80",
    ].map(unusable),
    ...["https://*.wild.demo", "http://*.demo", "", "://", "tcp://10.0.0.1:22"].map(unusable),
  ];
  test.each([
    ["one.demo", ["http://one.demo"]],
    ["one.demo:81", []],
    ["127.0.0.2:18901", ["tcp://two.demo:18901"]],
    ["fd11::9", ["http://six.demo"]],
    ["[FD11:0::9]", ["http://six.demo"]],
    ["fd11::8", []],
    ["http://[fd11::9]/", ["http://six.demo"]],
    ["[fd11::9]:81", []],
    ["app.localhost", ["http://app.localhost"]],
    ["http://app.localhost/path", ["http://app.localhost"]],
    ["app.localhost:81", []],
    ["b.demo", ["udp://b.demo:53"]],
    ["big.demo", ["HTTP://Big.Demo."]],
    ["zero.demo", ["http://zero.demo:0"]],
    ["portless.demo:7", ["portless.demo"]],
    ["10.0.0.1", ["tcp://10.0.0.1:22"]],
    ["both.demo", ["http://both.demo", "tcp://both.demo:80"]],
    ["a.wild.demo", ["https://*.wild.demo", "http://*.demo"]],
    ["https://a.wild.demo", ["https://*.wild.demo"]],
    ["http://a.wild.demo", ["http://*.demo"]],
    ["a.b.wild.demo:443", ["https://*.wild.demo"]],
    ["wild.demo:443", []],
    // An exact name goes before a wildcard, and draining items are skipped.
    ["gone.demo", ["http://*.demo"]],
    ["nobody.example", []],
  ])("%s", (text, urls) => {
    expect(meantBy(asked(text), list).map(({ url }) => url)).toEqual(urls);
  });
});

describe("judgeAddress", () => {
  const judged = (text: string, more: Partial<ListItem> = {}): string => {
    const finding = judgeAddress(asked(text), item("one", more));
    return finding === undefined ? "" : `${finding.level}: ${finding.text} → ${finding.fix}`;
  };

  test("says that a request to an address has it as its Host, and the way around", () => {
    expect(judged("127.0.0.2")).toBe(
      'warning: a request to 127.0.0.2 has the address as its Host, and not "one.demo" → use the name; if that is impossible, `curl --resolve one.demo:80:127.0.0.2 http://one.demo/`',
    );
    expect(judged("http://127.0.0.2:18901/x", { port: 18901 })).toEndWith(
      "`curl --resolve one.demo:18901:127.0.0.2 http://one.demo:18901/`",
    );
  });

  test("says the same of the server's name in TLS", () => {
    expect(judged("127.0.0.2:443", { port: 443, proto: "https" })).toBe(
      'warning: a request to 127.0.0.2 has the address as its Host, and not "one.demo"; TLS does not name it either (SNI) → use the name; if that is impossible, `curl --resolve one.demo:443:127.0.0.2 https://one.demo/`',
    );
    expect(judged("127.0.0.2:443", { port: 443, proto: "tls" })).toBe(
      'warning: a TLS connection to 127.0.0.2 does not name "one.demo" (SNI) → use the name, or give it to the program as the server\'s name',
    );
  });

  test("says it of the IPv6 address that was asked", () => {
    const two = { ip: "10.107.0.9", ip6: "fd11::9" };
    expect(judged("fd11::9", two)).toBe(
      'warning: a request to [fd11::9] has the address as its Host, and not "one.demo" → use the name; if that is impossible, `curl --resolve one.demo:80:[fd11::9] http://one.demo/`',
    );
    expect(judged("[fd11::9]:443", { ...two, port: 443, proto: "tls" })).toStartWith(
      "warning: a TLS connection to [fd11::9] does not name",
    );
  });

  test("says nothing of a name, nor of plain TCP", () => {
    expect(judged("one.demo")).toBe("");
    expect(judged("127.0.0.2:5432", { port: 5432, proto: "tcp" })).toBe("");
  });
});

describe("judgeUnknown", () => {
  const bound = (...urls: string[]): ApiFacts["bound"] => ({
    ok: true,
    value: urls.map((url) => endpoint("ep_1", url)),
    tookMs: 1,
  });
  const unasked: ApiFacts["bound"] = {
    ok: false,
    error: new NgrokdError("network", "no"),
    tookMs: 1,
  };
  const said = ({ level, text, fix }: Finding): string => `${level}: ${text} → ${fix}`;
  const judged = (text: string, list: readonly ListItem[], api = bound()): string =>
    said(judgeUnknown(asked(text), list, api));
  const draining = item("one", { state: "draining", port: 18901 });
  const gone =
    "failure: one.demo:18901 is gone from ngrok's list, and its last connections are ending → if it is needed,";

  test("reports a draining endpoint as gone, whatever else has the name", () => {
    expect(judged("one.demo", [draining])).toStartWith(gone);
    expect(judged("one.demo:18901", [draining], unasked)).toStartWith(gone);
    expect(judged("127.0.0.2", [draining])).toStartWith(gone);
    expect(judged("one.demo:18901", [draining, item("one")])).toStartWith(gone);
  });

  test("names the new address of an endpoint that has moved", () => {
    expect(judged("127.0.0.2", [draining, item("one", { port: 18901, ip: "127.0.0.9" })])).toBe(
      "failure: one.demo:18901 has moved to 127.0.0.9, and its last connections to 127.0.0.2 are ending → connect by the name",
    );
  });

  test("names the ports that are served, and none that only drains", () => {
    expect(
      judged("one.demo:81", [item("one"), item("one", { state: "failed", port: 82 }), draining]),
    ).toBe('failure: "one.demo" is served on ports 80 and 82, and not on 81 → use port 80 or 82');
    expect(judged("one.demo:81", [draining])).toStartWith(
      'failure: no endpoint that is bound to this machine has the name "one.demo"',
    );
  });

  test("asks for a poll if ngrok lists it now, even if it cannot be served", () => {
    const poll =
      "failure: ngrok lists it, and the daemon has not seen it yet → run `ngrokd refresh`";
    expect(judged("one.demo:18901", [draining], bound("tcp://one.demo:18901"))).toBe(poll);
    expect(judged("one.demo:81", [item("one")], bound("http://one.demo:81"))).toBe(poll);
    expect(judged("b.demo", [], bound("udp://b.demo:53"))).toBe(poll);
  });

  test("suggests a similar name from the list", () => {
    expect(judged("oen.demo", [item("one")])).toEndWith('→ did you mean "one.demo"?');
    expect(judged("oen.demo", [draining])).toContain("with the binding `kubernetes`?");
    expect(judged("oen.demo", [], unasked)).toContain("(ngrok's API could not be asked)");
  });
});
