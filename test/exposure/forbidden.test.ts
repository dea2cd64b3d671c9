import { describe, expect, test } from "bun:test";
import { forbiddenName, forbiddenZone } from "../../src/exposure/forbidden.ts";
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
      expect(reason(name)).toContain("ngrokd itself must reach");
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

  test.each(["127.0.0.1", "127.0.1.1", "::1", "0:0::0:1", "192.0.2.7", "FE80:0::1%eth0"])(
    "refuses a name that the hosts file gives to this machine, at %s",
    (address) => {
      const pinned = new Map([["build7.corp", [address]]]);
      const addresses = ["192.0.2.7", "fe80::1"];
      expect(forbiddenName(host("build7.corp"), { ...own, pinned, addresses })).toBe(
        '"build7.corp" is one of this machine\'s own names in its hosts file',
      );
      expect(forbiddenName(host("build8.corp"), { ...own, pinned, addresses })).toBeUndefined();
    },
  );

  test("leaves a name to a line of the hosts file that pins it", () => {
    const pinned = new Map([["bank.example", ["10.5.5.5"]]]);
    expect(forbiddenName(host("bank.example"), { ...own, pinned })).toBe(
      'another line of the hosts file gives "bank.example" an address of its own, 10.5.5.5, ' +
        "and that line counts",
    );
  });

  test("refuses the FQDNs that the search list makes of the host name", () => {
    const searched = ["corp.example", "LAB.example."];
    for (const name of ["johns-mac.corp.example", "johns-mac.lab.example"])
      expect(forbiddenName(host(name), { ...own, searched }), name).toContain("own name");
    expect(forbiddenName(host("db.corp.example"), { ...own, searched })).toBeUndefined();
  });

  test("ignores an empty host name of the machine", () => {
    expect(forbiddenName(host("a.demo"), { hostnames: [""], hosts: [""] })).toBeUndefined();
  });
});

describe("forbiddenZone", () => {
  const zone = (name: string) =>
    forbiddenZone(host(name), {
      ...own,
      searched: ["Office.example."],
      isPublicDomain: (zone) => ["com", "co.uk"].includes(zone),
    });

  test.each([
    ["localhost", "always mean the local machine"],
    ["local", "always mean the local machine"],
    ["10.in-addr.arpa", "always mean the local machine"],
    ["com", "a whole public domain"],
    ["co.uk", "a whole public domain"],
    ["ngrok.com", 'covers "api.ngrok.com", a host that ngrokd itself must reach'],
    ["corp.example", "the domain of this machine's own name"],
    ["office.example", "the domain of this machine's own name"],
    ["example", "the domain of this machine's own name"],
  ])("refuses *.%s", (name, why) => {
    expect(zone(name)).toContain(why);
  });

  test.each(["team.internal", "demo", "default", "team.corp.example", "ngrok.demo", "github.io"])(
    "allows *.%s",
    (name) => {
      expect(zone(name)).toBeUndefined();
    },
  );
});
