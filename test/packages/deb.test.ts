import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stories, until } from "../support/story.ts";
import {
  killBoth,
  lacks,
  must,
  otherRoot,
  ownFolder,
  type Root,
  released,
  serveName,
} from "./support.ts";

/** The next version of the package: other defaults in its configuration. */
async function nextVersion(): Promise<string> {
  const folder = ownFolder();
  const tree = join(folder, "tree");
  await must("dpkg-deb", "-R", released("_amd64.deb"), tree);
  const control = join(tree, "DEBIAN/control");
  writeFileSync(control, readFileSync(control, "utf8").replace(/^Version: .*/m, "Version: 99.0"));
  const file = join(folder, "next.deb");
  await must("dpkg-deb", "--root-owner-group", "-Znone", "-b", tree, file);
  return file;
}

/** It reads all of both packages: a minute for each on a busy machine. */
const longForLintian = 600_000;

stories("the Debian package", () => {
  const without = lacks("lintian", "dpkg-deb");
  const deb = (): string => released("_amd64.deb");
  let machine: Root;
  let before: Set<string>;
  let hosts: string;

  beforeAll(async () => {
    if (without) return;
    machine = await otherRoot();
    before = await machine.files();
    hosts = await machine.must("cat /etc/hosts");
  });

  test.skipIf(without)(
    "has nothing that lintian minds, for both processors",
    async () => {
      for (const file of [deb(), released("_arm64.deb")])
        expect((await must("lintian", "--fail-on", "error,warning", file)).out).toBe("");
    },
    longForLintian,
  );

  test.skipIf(without)("installs program, unit, group and configuration, and starts", async () => {
    await must("cp", deb(), join(machine.path, "tmp/ngrokd.deb"));
    await machine.must("dpkg -i /tmp/ngrokd.deb");
    expect(await machine.must("ngrokd --version")).toStartWith("ngrokd ");
    expect(await machine.must("ngrokd config check")).toContain("/etc/ngrokd/config.yml");
    expect(await machine.must("stat -c '%a %U' /etc/ngrokd /etc/ngrokd/config.yml")).toBe(
      "700 root\n600 root\n",
    );
    expect(await machine.must("getent group ngrokd")).toStartWith("ngrokd:");
    expect(await machine.told()).toEqual(["start ngrokd.service"]);
    expect(await machine.must("ngrokd service install --dry-run")).not.toContain("write ");
    expect((await machine.sh("man -w ngrokd; dpkg -V ngrokd")).out).not.toContain("??");
  });

  test.skipIf(without)("brings manual pages, and completions that the shells find", async () => {
    expect(await machine.must("zcat /usr/share/man/man1/ngrokd-upgrade.1.gz")).toContain(
      "ngrokd upgrade",
    );
    const asked = "source /usr/share/bash-completion/completions/ngrokd; complete -p ngrokd";
    expect(await machine.must(`bash -c '${asked}'`)).toBe("complete -F _ngrokd ngrokd\n");
    expect(await machine.must("head -1 /usr/share/zsh/vendor-completions/_ngrokd")).toBe(
      "#compdef ngrokd\n",
    );
    expect(await machine.must("cat /usr/share/fish/vendor_completions.d/ngrokd.fish")).toContain(
      "complete -c ngrokd",
    );
  });

  test.skipIf(without)("keeps a changed configuration at an upgrade, and hands over", async () => {
    await machine.must(serveName);
    await machine.must("echo '# mine' >>/etc/ngrokd/config.yml");
    await machine.told();
    await must("cp", await nextVersion(), join(machine.path, "tmp/next.deb"));
    await machine.must("dpkg -i /tmp/next.deb");
    expect(await machine.must("tail -n 1 /etc/ngrokd/config.yml")).toBe("# mine\n");
    // It runs already.
    expect(await machine.told()).toEqual(["start ngrokd.service"]);
    await until("it becomes the new program", async () =>
      (await machine.must("cat /tmp/log")).includes("Becoming "),
    );
    expect((await machine.sh("ls /run/ngrokd-unit.before")).code).not.toBe(0);
    await machine.must("ngrokd wait hello.demo --timeout 30");
  });

  test.skipIf(without)("takes a killed daemon's names back, and purge leaves nothing", async () => {
    await machine.must(killBoth);
    expect(await machine.must("cat /etc/hosts")).toContain("hello.demo");
    await machine.must("dpkg -r ngrokd");
    expect(await machine.must("cat /etc/hosts")).toBe(hosts);
    expect(await machine.must("cat /etc/ngrokd/operator_id")).not.toBe("");
    expect(await machine.told()).toEqual(["stop ngrokd.service"]);
    await machine.must("dpkg -P ngrokd");
    const { left, gone } = await machine.changes(before);
    expect({ left: left.filter(isNgrokds), gone: gone.filter(isNgrokds) }).toEqual({
      left: [],
      gone: [],
    });
    expect(await machine.must("cat /etc/hosts")).toBe(hosts);
  });
});

/** Not one of the files that groupadd always writes. */
const isNgrokds = (line: string): boolean => !/^\/etc\/(?:group|gshadow)-? /.test(line);
