import { describe, expect, test } from "bun:test";
import type { Asked } from "../../src/observe/http-server.ts";
import { cookieIn, formRefusal, hostsOf, originRefusal } from "../../src/web/gate.ts";

const asked = (target: string, headers: Asked["headers"] = [], method = "GET"): Asked => ({
  method,
  target,
  version: "1.1",
  headers,
  conn: undefined,
});

describe("the form of a request", () => {
  test.each(["/", "/api/v1/list", "/api/v1/traffic?host=a.b:80&step=5", "/app.js", "/a-b_c.d"])(
    "%s is plain",
    (target) => expect(formRefusal(asked(target))).toBeUndefined(),
  );

  test.each([
    "",
    "a",
    "//",
    "/a//b",
    "/.",
    "/..",
    "/a/../b",
    "/.git",
    "/%2e",
    "/a b",
    "/a?b c",
    "*",
  ])("%j is refused", (target) => expect(formRefusal(asked(target))?.status).toBe(400));
});

describe("the version of a request", () => {
  test.each([
    ["1.1", undefined],
    ["1.0", undefined],
    ["0.9", 400],
    ["2.0", 400],
    ["", 400],
  ] as const)("%j: %p", (version, status) =>
    expect(formRefusal({ ...asked("/"), version })?.status).toBe(status),
  );
});

describe("the origin of a request", () => {
  const hosts = hostsOf({ host: "::1", port: 8082 });

  test("is this server, by its address or as localhost", () => {
    expect(hosts).toEqual(["[::1]:8082", "localhost:8082"]);
    const from = (host: string, origin: string) =>
      originRefusal(
        asked("/", [
          ["host", host],
          ["origin", origin],
        ]),
        hosts,
      )?.status;
    expect(from("[::1]:8082", "http://[::1]:8082")).toBeUndefined();
    expect(from("localhost:8082", "http://localhost:8082")).toBeUndefined();
    expect(from("localhost:8082", "http://[::1]:8082")).toBe(403);
    expect(from("127.0.0.1:8082", "http://127.0.0.1:8082")).toBe(421);
  });

  test("may be another site for the one-time link, if a person follows it", () => {
    const from = (target: string, mode: string) =>
      originRefusal(
        asked(target, [
          ["host", "localhost:8082"],
          ["sec-fetch-site", "cross-site"],
          ["sec-fetch-mode", mode],
        ]),
        hosts,
      )?.status;
    expect(from("/open?code=a", "navigate")).toBeUndefined();
    expect(from("/open?code=a", "no-cors")).toBe(403);
    expect(from("/opens?code=a", "navigate")).toBe(403);
    expect(from("/", "navigate")).toBe(403);
  });
});

test("a cookie counts only if it is there once", () => {
  const of = (text: string) => cookieIn(asked("/", [["cookie", text]]), "a");
  expect([of("b=1; a=2"), of("a=1; a=2"), of("aa=1"), of("a="), of("")]).toEqual([
    "2",
    undefined,
    undefined,
    "",
    undefined,
  ]);
});
