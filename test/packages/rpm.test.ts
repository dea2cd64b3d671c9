import { expect, test } from "bun:test";
import { join } from "node:path";
import { stories, until } from "../support/story.ts";
import { killBoth, lacks, must, otherRoot, released, serveName } from "./support.ts";

stories("the RPM", () => {
  test.skipIf(lacks("rpm"))(
    "installs program, unit and configuration, and keeps a changed one",
    async () => {
      const machine = await otherRoot();
      const before = await machine.files();
      await must("cp", released(".x86_64.rpm"), join(machine.path, "tmp/ngrokd.rpm"));
      // Debian's rpm has no packages that could fulfil what it needs.
      await machine.must("rpm --initdb && rpm --force-debian --nodeps -i /tmp/ngrokd.rpm");
      expect(await machine.must("ngrokd --version")).toStartWith("ngrokd ");
      expect(await machine.must("rpm -V ngrokd --nodeps")).toBe("");
      expect(await machine.must("stat -c '%a %U' /etc/ngrokd /etc/ngrokd/config.yml")).toBe(
        "700 root\n600 root\n",
      );
      expect(await machine.must("getent group ngrokd")).toStartWith("ngrokd:");
      const shared = await machine.must("rpm -ql ngrokd | grep -v '^/usr/share/doc'");
      for (const path of [
        "/usr/share/man/man1/ngrokd.1",
        "/usr/share/bash-completion/completions/ngrokd",
        "/usr/share/zsh/site-functions/_ngrokd",
        "/usr/share/fish/vendor_completions.d/ngrokd.fish",
      ])
        expect(shared.split("\n")).toContain(path);
      expect(await machine.must("ngrokd service install --dry-run")).not.toContain("write ");
      expect(await machine.told()).toEqual([]);

      await machine.must("echo '# mine' >>/etc/ngrokd/config.yml");
      await machine.must("rpm --force-debian --nodeps --replacepkgs -U /tmp/ngrokd.rpm");
      expect(await machine.must("tail -n 1 /etc/ngrokd/config.yml")).toBe("# mine\n");
      expect(await machine.told()).toEqual([]);

      await machine.must("rpm --force-debian -e ngrokd");
      expect(await machine.told()).toEqual(["disable ngrokd.service"]);
      const { left } = await machine.changes(before);
      const paths = left.filter((line) => !/^\/etc\/g(?:roup|shadow)/.test(line));
      expect(paths.map((line) => line.split(" ")[0])).toEqual([
        "/etc/ngrokd",
        "/etc/ngrokd/config.yml.rpmsave",
        // Systems with RPM have this one.
        "/usr/share/licenses",
      ]);
    },
  );

  test.skipIf(lacks("rpm"))("hands over at an upgrade, and restarts for a new unit", async () => {
    const machine = await otherRoot();
    await must("cp", released(".x86_64.rpm"), join(machine.path, "tmp/ngrokd.rpm"));
    await machine.must("rpm --initdb && rpm --force-debian --nodeps -i /tmp/ngrokd.rpm");
    await machine.must(serveName);
    const upgrade = "rpm --force-debian --nodeps --replacepkgs -U /tmp/ngrokd.rpm";
    await machine.must(upgrade);
    await until("it becomes the new program", async () =>
      (await machine.must("cat /tmp/log")).includes("Becoming "),
    );
    expect(await machine.told()).toEqual([]);
    await machine.must("ngrokd wait hello.demo --timeout 30");
    await machine.must("echo '# other' >>/usr/lib/systemd/system/ngrokd.service");
    await machine.must(upgrade);
    expect(await machine.told()).toEqual(["restart ngrokd.service"]);
    await machine.must(killBoth);
  });
});
