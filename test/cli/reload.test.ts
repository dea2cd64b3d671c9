import { describe, expect, test } from "bun:test";
import { reloadText } from "../../src/cli/reload.ts";
import type { ReloadReport } from "../../src/desk/reply-schemas.ts";
import { marked, plain } from "./support.ts";

const report = (changes: ReloadReport["changes"]): ReloadReport => ({
  ok: true,
  config_path: "/etc/ngrokd/config.yml",
  changes,
  problems: [],
  warnings: [],
});

describe("the text of `ngrokd reload`", () => {
  test("says that nothing has changed in which file", () => {
    expect(reloadText(report([]), plain)).toBe('Nothing has changed in "/etc/ngrokd/config.yml".');
  });

  test("has a line a change, with both values and when it counts", () => {
    const text = reloadText(
      report([
        { key: "bound_endpoints.poll_interval", counts: "now", from: 30, to: 5 },
        { key: "bound_endpoints.selectors", counts: "now", from: ["true"], to: ["a == 'b'", "c"] },
        { key: "server.socket_path", counts: "restart", from: "/a", to: "/b c" },
        { key: "server.ingress_ca", counts: "now", from: "", to: "/ca.pem" },
      ]),
      plain,
    );
    expect(text.split("\n")).toEqual([
      "Setting                        Was       Is                Counts",
      "bound_endpoints.poll_interval  30        5                 now",
      `bound_endpoints.selectors      ["true"]  ["a == 'b'","c"]  now`,
      `server.socket_path             /a        "/b c"            after a restart of the daemon`,
      `server.ingress_ca              ""        /ca.pem           now`,
    ]);
  });

  test("is coloured by the needed action", () => {
    const changes = (["now", "restart"] as const).map((counts) => ({
      key: "net.subnet",
      counts,
      from: 1,
      to: 2,
    }));
    expect(reloadText(report(changes), marked)).toMatch(
      /\+now\+.*\n.*~after a restart of the daemon~$/s,
    );
  });
});
