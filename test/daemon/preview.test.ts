import { describe, expect, test } from "bun:test";
import { planText } from "../../src/cli/plan.ts";
import { identityPreview } from "../../src/daemon/look-ahead.ts";
import { type PreviewFacts, preview } from "../../src/daemon/preview.ts";
import { loopbackGround } from "../../src/exposure/ground.ts";
import { reachOf } from "../../src/exposure/reach.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import { plain, status } from "../cli/support.ts";
import { host, mapping, subnet } from "../machine/support.ts";
import { endpoint } from "./support.ts";

const facts = ({
  listed = [endpoint("ep_1", "http://a.demo")],
  ...changes
}: Partial<PreviewFacts> & { listed?: readonly ApiEndpoint[] } = {}): PreviewFacts => ({
  accounts: [{ account: "default", listed }],
  saved: mapping({ "a.demo": "127.0.0.2" }),
  ground: loopbackGround,
  policy: { forbidden: () => undefined },
  listening: [{ url: "http://a.demo", host: "a.demo", ip: "127.0.0.2", port: 80 }],
  hosts:
    "127.0.0.1 localhost\n# BEGIN ngrokd managed section\n127.0.0.2\ta.demo\n# END ngrokd managed section\n",
  ...changes,
});
const nothing = {
  names: [],
  raise: [],
  retire: [],
  others: [],
  hosts: { add: [], remove: [], refused: "" },
  zones: { add: [], remove: [] },
  unserved: [],
};

/** The changes, without the list of served endpoints. */
const changesOf = (given: PreviewFacts) => {
  const { exposure: _, ...changes } = preview(given);
  return changes;
};

describe("preview", () => {
  test("keeps what another profile serves, and tells of a name that both have", () => {
    const listening = [
      { url: "http://a.demo", host: "a.demo", ip: "127.0.0.2", port: 80, profile: "work" },
    ];
    const [a, b] = [endpoint("ep_1", "http://a.demo"), endpoint("ep_2", "http://a.demo")];
    const work = { account: "work", listed: [a] };
    expect(changesOf(facts({ accounts: [work], listening }))).toEqual({ ...nothing, served: 1 });
    const accounts = [work, { account: "lab", listed: [b] }];
    const { unserved, raise, retire } = preview(facts({ accounts, listening }));
    expect({ unserved, raise, retire }).toEqual({
      unserved: [
        { url: "http://a.demo", reason: "the profile work comes first, and serves this name" },
      ],
      raise: [],
      retire: [],
    });
  });

  test("returns all endpoints to serve as plain data", () => {
    expect(JSON.parse(JSON.stringify(preview(facts()).exposure))).toEqual({
      doors: [{ id: "127.0.0.2:80", at: { ip: "127.0.0.2", port: 80 }, greet: "fixed" }],
      routes: [
        {
          door: "127.0.0.2:80",
          match: { kind: "any" },
          target: {
            account: "default",
            binding: {
              proto: "http",
              host: "a.demo",
              port: 80,
              key: "a.demo:80",
              url: "http://a.demo",
              ids: ["ep_1"],
            },
          },
        },
      ],
      addresses: ["127.0.0.2"],
      asked: [],
      zones: [],
      names: [{ host: "a.demo", ip: "127.0.0.2" }],
    });
  });

  test("is empty if the machine matches ngrok's list", () => {
    expect(changesOf(facts())).toEqual({ ...nothing, served: 1 });
  });

  test("moves a name whose address is outside the range from the old to a new one", () => {
    expect(
      changesOf(facts({ ground: { kind: "loopback", range: subnet("127.9.0.0/16") } })),
    ).toEqual({
      names: [{ host: "a.demo", change: "moved", from: "127.0.0.2", to: "127.9.0.2" }],
      raise: [{ url: "http://a.demo", host: "a.demo", ip: "127.9.0.2", port: 80 }],
      retire: [{ url: "http://a.demo", host: "a.demo", ip: "127.0.0.2", port: 80 }],
      others: [],
      hosts: { add: ["127.9.0.2\ta.demo"], remove: ["127.0.0.2\ta.demo"], refused: "" },
      zones: { add: [], remove: [] },
      unserved: [],
      served: 1,
    });
  });

  test("names the ways of other machines that would come, change and go", () => {
    const sharing = (listen: string) => ({
      reach: reachOf({ listen_interface: listen, overrides: {} }, () => []),
      ports: new Map<string, number>(),
      startPort: 9080,
    });
    const [url, from] = ["http://a.demo", "0.0.0.0:80"];
    const shared = facts().listening.map((one) => ({ ...one, forOthers: from }));
    expect(preview(facts({ sharing: sharing("::") })).others).toEqual([
      { url, from: "", to: "[::]:80" },
    ]);
    const there = facts({ sharing: sharing("0.0.0.0"), listening: shared });
    expect(changesOf(there)).toEqual({ ...nothing, served: 1 });
    expect(preview(facts({ listening: shared })).others).toEqual([{ url, from, to: "" }]);
  });

  test("takes everything down if ngrok lists nothing, and ignores the user's lines", () => {
    const { names, retire, hosts } = preview(facts({ listed: [] }));
    expect(names).toEqual([{ host: "a.demo", change: "gone", from: "127.0.0.2", to: "" }]);
    expect(retire).toHaveLength(1);
    expect(hosts).toEqual({
      add: [],
      remove: [
        "# BEGIN ngrokd managed section",
        "127.0.0.2\ta.demo",
        "# END ngrokd managed section",
      ],
      refused: "",
    });
  });

  test("says that a hosts file must not be edited, also if nothing else would change", () => {
    const changes = preview(facts({ hosts: "\xff\xfe1\x002\x007\x00" }));
    const refused = "it is UTF-16 text, which resolvers do not read; save it as plain text (UTF-8)";
    expect(changes).toMatchObject({
      ...nothing,
      hosts: { add: [], remove: [], refused },
      served: 1,
    });
    const text = planText(
      {
        identity: identityPreview({ kind: "none" }, new Date()),
        changes,
        network: undefined,
        resolver: "",
      },
      { daemon: status().network, hostsPath: "/etc/hosts" },
      plain,
    );
    expect(text.split("\n")).toContain(`! Cannot edit "/etc/hosts": ${refused}`);
  });

  test("names the endpoints that it would not serve, with reasons", () => {
    const listed = [
      endpoint("ep_1", "http://a.demo"),
      endpoint("ep_2", "udp://b.demo:1"),
      endpoint("ep_3", "http://c.demo"),
    ];
    const { unserved, served } = preview(
      facts({
        listed,
        policy: { forbidden: (host) => (host === "c.demo" ? "not that" : undefined) },
      }),
    );
    expect(unserved).toMatchObject([
      { url: "udp://b.demo:1" },
      { url: "http://c.demo", reason: "not that" },
    ]);
    expect(served).toBe(1);
    const none = preview(
      facts({ ground: { kind: "loopback", range: subnet("127.0.0.0/31") }, saved: mapping({}) }),
    );
    expect(none).toMatchObject({ unserved: [{ url: "http://a.demo" }], served: 0 });
  });
});

describe("preview of wildcards", () => {
  const listed = [endpoint("ep_9", "http://*.team.demo")];
  const asked = new Set([host("x.team.demo")]);
  const below = { onDemand: true, asked, expanded: new Set<never>() };
  const here = { url: "http://*.team.demo", host: "x.team.demo", ip: "127.0.0.3", port: 80 };
  const saved = mapping({ "x.team.demo": "127.0.0.3" });

  test("tells the zones that the resolver would be told about, and those it would not", () => {
    const changes = preview(facts({ listed, below, zones: ["old.demo"] }));
    expect(changes.zones).toEqual({ add: [host("team.demo")], remove: ["old.demo"] });
    const identity = { registration: "none", certificate: "none", reason: "" } as const;
    const text = planText(
      { identity, changes, network: undefined, resolver: "by words" },
      { daemon: status().network, hostsPath: "/etc/hosts" },
      plain,
    );
    expect(text).toContain("Resolver (by words):\n  + *.team.demo\n  - *.old.demo");
  });

  test("is empty for a name below one that listens already", () => {
    const changes = preview(
      facts({ listed, below, saved, listening: [here], zones: ["team.demo"], hosts: "" }),
    );
    const { names, raise, retire, zones } = changes;
    expect({ names, raise, retire, zones }).toEqual({
      names: [],
      raise: [],
      retire: [],
      zones: { add: [], remove: [] },
    });
  });
});

describe("identityPreview", () => {
  test("distinguishes a first registration from one to complete", () => {
    const now = new Date();
    expect(identityPreview({ kind: "none" }, now)).toMatchObject({ registration: "new" });
    expect(identityPreview({ kind: "unusable", reason: "there is no key" }, now)).toEqual({
      registration: "again",
      certificate: "none",
      reason: "there is no key",
    });
  });
});
