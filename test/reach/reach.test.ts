import { describe, expect, test } from "bun:test";
import { bindingFor, bindingsOf } from "../../src/model/binding.ts";
import { isSameUser } from "../../src/reach/carrier.ts";
import { parseListen } from "../../src/reach/local-doors.ts";
import { pacText } from "../../src/reach/pac.ts";
import { userConfigPath, userStateFolder } from "../../src/reach/place.ts";
import { chosenBinding, namedEndpoint } from "../../src/reach/reach.ts";

const listed = bindingsOf(
  [
    "http://web.demo",
    "tcp://db.demo:5432",
    "tcp://db.demo:5433",
    "https://*.team.demo",
    "https://*.a.team.demo",
  ].map((url, i) => ({ id: `ep_${i}`, url, proto: "" })),
);

describe("bindingFor", () => {
  test("finds a name at its port, in any spelling", () => {
    expect(bindingFor(listed, "WEB.demo.", 80)?.key).toBe("web.demo:80");
    expect(bindingFor(listed, "web.demo", 81)).toBeUndefined();
    expect(bindingFor(listed, "10.0.0.1", 80)).toBeUndefined();
  });

  test("finds a name below the longest wildcard, and not the zone itself", () => {
    expect(bindingFor(listed, "x.team.demo", 443)?.wildcard).toBe("*.team.demo:443");
    expect(bindingFor(listed, "x.a.team.demo", 443)?.wildcard).toBe("*.a.team.demo:443");
    expect(bindingFor(listed, "team.demo", 443)).toBeUndefined();
  });
});

describe("chosenBinding", () => {
  const chosen = (text: string) => chosenBinding(listed, namedEndpoint(text)).key;

  test("takes the only port, a named one, or that of a URL", () => {
    expect(chosen("web.demo")).toBe("web.demo:80");
    expect(chosen("db.demo:5433")).toBe("db.demo:5433");
    expect(chosen("https://x.team.demo")).toBe("x.team.demo:443");
  });

  test("refuses what is not clear, with the next step", () => {
    expect(() => chosen("db.demo")).toThrow('The endpoint "db.demo" has several ports: 5432, 5433');
    expect(() => chosen("web.demo:81")).toThrow('The endpoint "web.demo" has no port 81');
    expect(() => chosen("no.demo")).toThrow('There is no endpoint "no.demo"');
  });

  test.each(["", "a b", "*.team.demo", "https://*.team.demo", "web.demo:0", "web.demo:70000"])(
    "takes %p for no endpoint",
    (text) => {
      expect(() => namedEndpoint(text)).toThrow("Cannot connect to");
    },
  );
});

test("parseListen takes an address and a port, or a port alone", () => {
  const read = (text: string) => {
    const place = parseListen(text);
    return place.ok ? `${place.value.host} ${place.value.port}` : "no";
  };
  expect(["8080", "0", "localhost:81", "[::1]:0", "0.0.0.0:99"].map(read)).toEqual([
    "127.0.0.1 8080",
    "127.0.0.1 0",
    "127.0.0.1 81",
    "::1 0",
    "0.0.0.0 99",
  ]);
  expect(["web.demo:80", "127.0.0.1", "70000", ""].map(read)).toEqual(["no", "no", "no", "no"]);
});

test("pacText quotes every name, and names the proxies in their order", () => {
  const text = pacText(listed, { http: "127.0.0.1:3128", socks: "127.0.0.1:1080" });
  expect(text).toContain('var hosts = ["db.demo","web.demo"];');
  expect(text).toContain('"PROXY 127.0.0.1:3128; SOCKS5 127.0.0.1:1080"');
});

test("the folders of a user follow the XDG variables if they are absolute", () => {
  expect(userStateFolder({ HOME: "/h" })).toBe("/h/.local/state/ngrokd");
  expect(userStateFolder({ HOME: "/h", XDG_STATE_HOME: "/s" })).toBe("/s/ngrokd");
  expect(userStateFolder({ HOME: "/h", XDG_STATE_HOME: "s" })).toBe("/h/.local/state/ngrokd");
  expect(userConfigPath({ HOME: "/h" })).toBe("/h/.config/ngrokd/config.yml");
});

test("isSameUser lets in this user and root, and no other machine", () => {
  const same = (isHere: boolean, uid: number | undefined) => isSameUser({ isHere, uid }, 1000);
  expect({ own: same(true, 1000), root: same(true, 0) }).toEqual({ own: true, root: true });
  expect({ other: same(true, 1001), away: same(false, undefined) }).toEqual({
    other: false,
    away: false,
  });
});
