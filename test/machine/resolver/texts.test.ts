import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  withoutGoLines,
  withoutServer,
  withServer,
} from "../../../src/machine/resolver/resolv-conf.ts";
import { resolvedCommands, rivalsIn, saysWanted } from "../../../src/machine/resolver/resolved.ts";
import {
  choosesDnsmasq,
  type ResolverFacts,
  servicesIn,
  wayFor,
} from "../../../src/machine/resolver/way.ts";
import { dnsmasqFiles, resolverFiles } from "../../../src/machine/resolver/zone-files.ts";
import { serversIn } from "../../../src/model/resolv-conf.ts";
import { host } from "../support.ts";
import { bareFacts as facts } from "./support.ts";

const wanted = {
  server: { host: "10.107.0.1", port: 53 },
  zones: [host("team.internal"), host("wild.demo")],
};
const kindFor = (changes: Partial<ResolverFacts>): string =>
  wayFor({ ...facts, ...changes }, "127.0.0.1").kind;

describe("wayFor", () => {
  const resolved = { resolvectl: "/usr/bin/resolvectl", resolvConf: "nameserver 127.0.0.53\n" };
  test.each<[string, Partial<ResolverFacts>, string]>([
    ["macOS", { zoneFolder: "/etc/resolver", mayEdit: true }, "folder"],
    ["systemd-resolved with our link", { ...resolved, link: true }, "resolved"],
    [
      "its nsswitch module",
      { ...resolved, resolvConf: "", order: "files resolve [!UNAVAIL=return] dns", link: true },
      "resolved",
    ],
    [
      "systemd-resolved without a link, whatever may be edited",
      { ...resolved, mayEdit: true },
      "by-hand",
    ],
    [
      "systemd-resolved that nobody asks",
      { resolvectl: "/usr/bin/resolvectl", link: true },
      "by-hand",
    ],
    [
      "NetworkManager's dnsmasq",
      { dnsmasqFolder: "/etc/NetworkManager/dnsmasq.d", mayEdit: true },
      "dnsmasq",
    ],
    ["a resolv.conf that may be edited", { mayEdit: true }, "resolv-conf"],
    ["a resolv.conf that may not", {}, "by-hand"],
  ])("knows %s", (_, changes, kind) => {
    expect(kindFor(changes)).toBe(kind);
  });

  test("says what to type if nothing may be changed", () => {
    expect(wayFor(facts, "127.0.0.55").text).toContain(
      'put "nameserver 127.0.0.55" first into /etc/resolv.conf',
    );
    expect(wayFor({ ...facts, ...resolved }, "127.0.0.1").text).toContain(
      "set net.subnet to 10.107.0.0/16",
    );
  });

  test("reads the files that it depends on", () => {
    expect(
      serversIn("# nameserver 1.1.1.1\n nameserver\t::1 # x\nsearch a\nnameserver 9.9.9.9"),
    ).toEqual(["::1", "9.9.9.9"]);
    expect(servicesIn("files mdns4_minimal [NOTFOUND=return] dns")).toEqual([
      "files",
      "mdns4_minimal",
      "dns",
    ]);
    expect(choosesDnsmasq(["[main]\ndns=dnsmasq\n"])).toBe(true);
    expect(choosesDnsmasq(["[main]\ndns=dnsmasq\n", "[main]\ndns=none\n"])).toBe(false);
    expect(choosesDnsmasq(["#dns=dnsmasq\n"])).toBe(false);
  });
});

describe("the commands for systemd-resolved", () => {
  test("send our zones to us, and nothing else", () => {
    expect(resolvedCommands("ngrokd0", wanted).map((words) => words.join(" "))).toEqual([
      "default-route ngrokd0 no",
      "llmnr ngrokd0 no",
      "mdns ngrokd0 no",
      "dnssec ngrokd0 no",
      "dnsovertls ngrokd0 no",
      "dns ngrokd0 10.107.0.1",
      "domain ngrokd0 ~team.internal ~wild.demo",
    ]);
    const odd = { ...wanted, server: { host: "fd00::1", port: 5353 } };
    expect(resolvedCommands("ngrokd0", odd)).toContainEqual(["dns", "ngrokd0", "[fd00::1]:5353"]);
  });

  test("are not needed if it says the same", () => {
    const dns = "Link 3 (ngrokd0): 10.107.0.1\n";
    const domain = "Link 3 (ngrokd0): ~wild.demo ~team.internal\n";
    expect(saysWanted(dns, domain, wanted)).toBe(true);
    expect(saysWanted("Link 3 (ngrokd0):\n", domain, wanted)).toBe(false);
    expect(saysWanted(dns, "Link 3 (ngrokd0): ~wild.demo\n", wanted)).toBe(false);
    expect(saysWanted(dns, "Link 3 (ngrokd0): wild.demo team.internal\n", wanted)).toBe(false);
  });

  test("find the link of a VPN that takes the same names, or all", () => {
    const out =
      "Global:\nLink 2 (eth0): corp.example\nLink 3 (ngrokd0): ~team.internal\nLink 5 (tun0): ~.\nLink 6 (tun1): ~internal\n";
    expect(rivalsIn(out, "team.internal", "ngrokd0")).toEqual([]);
    expect(rivalsIn(`${out}Link 7 (tun2): ~team.internal\n`, "team.internal", "ngrokd0")).toEqual([
      "tun2",
    ]);
  });
});

describe("resolv.conf", () => {
  test("gets our server first, and is as before without it", () => {
    const text = "search corp.example\nnameserver 192.0.2.1";
    const edited = withServer(text, "127.0.0.1");
    expect(edited).toEqual({
      ok: true,
      value: `# BEGIN ngrokd managed section\nnameserver 127.0.0.1\n# END ngrokd managed section\n${text}`,
    });
    expect(edited.ok && withoutServer(edited.value)).toEqual({ ok: true, value: text });
  });

  test("is the same after both steps, whatever another program appends", () => {
    const line = fc.constantFrom("nameserver 192.0.2.1", "", "options edns0", "# x", "\r");
    fc.assert(
      fc.property(fc.array(line), fc.array(line), (lines, more) => {
        const text = lines.join("\n");
        const edited = withServer(text, "127.0.0.1");
        if (!edited.ok) throw new Error(edited.reason);
        const rest = withoutServer(`${edited.value}${more.join("\n")}`);
        expect(rest).toEqual({ ok: true, value: `${text}${more.join("\n")}` });
        const again = withServer(edited.value, "127.0.0.1");
        expect(again).toEqual(edited);
      }),
    );
  });

  test("with half of our section is nobody's to edit", () => {
    const broken = "# BEGIN ngrokd managed section\nnameserver 127.0.0.1\n";
    expect(withServer(broken, "127.0.0.1").ok).toBe(false);
    expect(withoutServer(broken).ok).toBe(false);
  });

  test("loses the two lines of the Go program, and only if they are first", () => {
    const before = "nameserver 192.0.2.1\n";
    const ofGo = `# ngrokd managed - do not edit this line\nnameserver 127.0.0.1\n${before}`;
    expect(withoutGoLines(ofGo)).toBe(before);
    expect(withoutGoLines(before)).toBeUndefined();
    expect(withoutGoLines(`# newer\n${ofGo}`)).toBeUndefined();
  });
});

describe("the files of other resolvers", () => {
  test("are one for each zone on macOS, and one for dnsmasq", () => {
    expect([...resolverFiles("/etc/resolver", wanted)]).toEqual([
      [
        "/etc/resolver/team.internal",
        expect.stringMatching(/^# Written by ngrokd.*\nnameserver 10\.107\.0\.1\nport 53\n$/),
      ],
      ["/etc/resolver/wild.demo", expect.any(String)],
    ]);
    expect([...dnsmasqFiles("/etc/NetworkManager/dnsmasq.d", wanted)]).toEqual([
      [
        "/etc/NetworkManager/dnsmasq.d/ngrokd.conf",
        expect.stringMatching(
          /^# Written by ngrokd.*\nserver=\/team\.internal\/10\.107\.0\.1#53\nserver=\/wild\.demo\/10\.107\.0\.1#53\n$/,
        ),
      ],
    ]);
  });
});
