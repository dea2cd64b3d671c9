import { expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { configFor, startCloud } from "../support/cloud.ts";
import { ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { foreignHosts, stories } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const folder = "/etc/ngrokd";
/** Files in the format of a later ngrokd. */
const later: Readonly<Record<string, string>> = {
  "ip_mappings.json": '{"version": 9, "names": [["hello.demo", "127.0.0.77"]]}',
  "journal.json": '{"version": 9, "did": [["hosts", "/etc/hosts"]]}',
};

stories("a downgrade: files of a later version", () => {
  test("do not stop the daemon, and stay beside its own; undo says so", async () => {
    mkdirSync(folder, { recursive: true });
    for (const [name, text] of Object.entries(later)) writeFileSync(`${folder}/${name}`, text);
    const { code, err } = await ngrokd("undo --yes");
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining(`Cannot understand the journal "${folder}/journal.json"`),
    });
    expect(err).toContain("the version of ngrokd that wrote it can read it");

    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await resolve("hello.demo")).toBe("127.0.0.2");
    expect(await daemon.stop()).toBe(0);
    for (const [name, text] of Object.entries(later)) {
      const aside = readdirSync(folder).filter((other) => other.startsWith(`${name}.`));
      expect(aside.map((other) => readFileSync(`${folder}/${other}`, "utf8"))).toEqual([text]);
      expect(
        daemon
          .lines()
          .filter(
            ({ level, message }) => level === "warn" && message.includes(`${folder}/${name}`),
          ),
      ).toHaveLength(1);
    }
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  });
});
