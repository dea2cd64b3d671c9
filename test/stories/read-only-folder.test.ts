import { beforeAll, expect, test } from "bun:test";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, run, serve } from "../support/ngrokd.ts";
import { repairedInTime } from "../support/repairs.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const folder = "/etc/ngrokd";
const hosts = (): string => readFileSync("/etc/hosts", "latin1");
const hello = async (): Promise<string> =>
  (await run(["curl", "-sS", "--max-time", "60", "http://hello.demo/"])).out;
const remount = async (how: "ro" | "rw"): Promise<void> => {
  expect((await run(["mount", "-o", `remount,${how}`, folder])).code).toBe(0);
};

stories("a state folder that is read-only, beside a hosts file that is not", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    await run(["mkdir", "-p", folder]);
    await run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder]);
    atEnd(() => run(["umount", "-l", folder]));
    // So long that a repair within seconds is not due to the next poll.
    ({ cloud, daemon } = await registered({
      config: { bound_endpoints: { poll_interval: 3600 } },
    }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.refresh();
    await daemon.becomes("hello.demo", "listening");
    await remount("ro");
  });

  test("keeps no section from being put back within five seconds", async () => {
    await repairedInTime(
      daemon.pid,
      () => writeFileSync("/etc/hosts", foreignHosts),
      () => hosts().includes("127.0.0.2\thello.demo\n"),
    );
    expect(await hello()).toBe("hello");
  });

  test("keeps no new name from being written, and no other from being taken out", async () => {
    const id = await cloud.add("http://late.demo", page("late").address);
    await daemon.refresh();
    expect(hosts()).toContain("127.0.0.3\tlate.demo\n");
    await cloud.remove(id);
    await daemon.refresh();
    expect({ hasLateName: hosts().includes("late.demo"), hello: await hello() }).toEqual({
      hasLateName: false,
      hello: "hello",
    });
  });

  test("uses ngrok's ingress for a Go program's identity, and saves it when it can", async () => {
    expect(await daemon.stop()).toBe(0);
    await remount("rw");
    rmSync(`${folder}/ingress_endpoint`);
    await remount("ro");
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    // The last list is served before ngrok is asked for the address.
    await until("ngrok has told the address, which cannot be saved", async () => {
      const { ingress_endpoint, warnings } = await daemon.status();
      const text = "The ingress address from ngrok is in use, but cannot be saved";
      return ingress_endpoint === cloud.ingress && warnings.join("\n").includes(text);
    });
    // By name: the journal still has the section, since its removal could not
    // be recorded either.
    expect(await hello()).toBe("hello");

    await remount("rw");
    await daemon.refresh();
    expect(readFileSync(`${folder}/ingress_endpoint`, "utf8")).toBe(`${cloud.ingress}\n`);
    expect((await daemon.status()).warnings).toEqual([]);
    expect(await hello()).toBe("hello");
    expect(await daemon.stop()).toBe(0);
  });
});
