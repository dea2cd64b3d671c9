import { describe, expect, test } from "bun:test";
import { forbiddenName } from "../../src/exposure/forbidden.ts";
import { host } from "../machine/support.ts";

const own = {
  hostnames: ["Web01.Corp.Example.", "johns-mac"],
  hosts: ["API.ngrok.com", "kubernetes-binding-ingress.ngrok.io"],
};
const reason = (name: string) => forbiddenName(host(name), own);

describe("forbiddenName", () => {
  test.each([
    "localhost",
    "LOCALHOST.",
    "anything.localhost",
    "localhost.localdomain",
    "localhost4",
    "localhost4.localdomain4",
    "localhost6.localdomain6",
    "ip6-localhost",
    "ip6-loopback",
    "ip6-localnet",
    "ip6-allnodes",
    "ip6-allrouters",
    "ipv6-localhost",
    "broadcasthost",
    "loopback",
  ])("refuses %s, since it means the local machine", (name) => {
    expect(reason(name)).toContain("always means the local machine");
  });

  test.each(["web01.corp.example", "web01", "web01.local", "johns-mac", "johns-mac.local"])(
    "refuses %s, a name of this machine",
    (name) => {
      expect(reason(name)).toBe(`"${name}" is this machine's own name`);
    },
  );

  test.each(["api.ngrok.com", "kubernetes-binding-ingress.ngrok.io"])(
    "refuses %s, which the daemon must reach",
    (name) => {
      expect(reason(name)).toContain("ngrokd itself has to reach");
    },
  );

  test.each([
    "hello.demo",
    "db",
    "printer.local",
    "web01.default",
    "web01.corp.example.net",
    "localhost.example.com",
    "mylocalhost",
    "ip6-proxy.demo",
    "notlocaldomain",
    "x.api.ngrok.com",
  ])("allows %s", (name) => {
    expect(reason(name)).toBeUndefined();
  });

  test("refuses a name of this machine in its hosts file", () => {
    const listed = new Set(["build7.corp"]);
    expect(forbiddenName(host("build7.corp"), { ...own, listed })).toBe(
      '"build7.corp" is one of this machine\'s own names in its hosts file',
    );
    expect(forbiddenName(host("build8.corp"), { ...own, listed })).toBeUndefined();
  });

  test("ignores an empty host name of the machine", () => {
    expect(forbiddenName(host("a.demo"), { hostnames: [""], hosts: [""] })).toBeUndefined();
  });
});
