import { expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startCloud } from "../support/cloud.ts";
import { run, start } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";
import { lacks, must, ownFolder, released } from "./support.ts";

stories("the container image", () => {
  const without = lacks("skopeo", "umoci", "crun");
  let address: string;
  let inside: (...words: string[]) => ReturnType<typeof run>;
  let pid: () => Promise<number>;

  test.skipIf(without)("has one image for each processor, not of root, with a check", async () => {
    const source = `oci-archive:${released("-image.tar")}`;
    for (const cpu of ["amd64", "arm64"]) {
      const words = ["inspect", "--override-arch", cpu, "--config", "--raw", source];
      const { json } = await must("skopeo", ...words);
      expect(json).toMatchObject({ architecture: cpu, os: "linux" });
      expect(json.config).toMatchObject({
        User: "65532:65532",
        Entrypoint: ["/usr/bin/ngrokd"],
        Healthcheck: { Test: ["CMD", "/usr/bin/ngrokd", "health"] },
      });
    }
  });

  test.skipIf(without)("serves as an ordinary user, with the key in a secret file", async () => {
    const folder = ownFolder();
    const at = (name: string): string => join(folder, name);
    const layout = `oci:${at("layout")}:ngrokd`;
    await must("skopeo", "copy", "--quiet", `oci-archive:${released("-image.tar")}`, layout);
    await must("umoci", "unpack", "--image", `${at("layout")}:ngrokd`, at("bundle"));

    const cloud = await startCloud();
    await cloud.add("http://hello.demo:8080", page("from the container").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    mkdirSync(at("secrets"));
    writeFileSync(at("secrets/key"), `${cloud.apiKey}\n`, { mode: 0o444 });
    writeFileSync(at("secrets/ca.crt"), readFileSync(cloud.caFile), { mode: 0o444 });
    const settings = { api: { url: cloud.apiUrl }, server: { ingress_ca: "/run/secrets/ca.crt" } };
    writeFileSync(at("secrets/config.yml"), JSON.stringify(settings), { mode: 0o444 });
    const file = at("bundle/config.json");
    const config = JSON.parse(readFileSync(file, "utf8"));
    config.process.terminal = false;
    config.process.env.push(
      "NGROKD_CONFIG=/run/secrets/config.yml",
      "NGROK_API_KEY_FILE=/run/secrets/key",
    );
    // In the network of this machine, as with `--network host`.
    config.linux.namespaces = config.linux.namespaces.filter(
      ({ type }: { type: string }) => !["network", "cgroup"].includes(type),
    );
    delete config.linux.resources;
    config.mounts = config.mounts.filter(
      // umoci puts an empty tmpfs in the place of a volume.
      ({ type, destination }: { type: string; destination: string }) =>
        !["cgroup", "sysfs"].includes(type) && destination !== "/etc/ngrokd",
    );
    config.mounts.push({
      destination: "/run/secrets",
      type: "bind",
      source: at("secrets"),
      options: ["bind", "ro"],
    });
    writeFileSync(file, JSON.stringify(config));
    // crun refuses a mixture of both kinds of control groups, as here.
    await must("mount", "-t", "cgroup2", "none", "/sys/fs/cgroup");
    atEnd(() => must("umount", "-l", "/sys/fs/cgroup"));
    const crun = ["crun", "--cgroup-manager=disabled", "--root", at("state")];
    start("the container", [...crun, "run", "--bundle", at("bundle"), "ngrokd"]);
    pid = async () => (await must(...crun, "state", "ngrokd")).json.pid;
    inside = (...words) => run([...crun, "exec", "--user", "65532:65532", "ngrokd", ...words]);
    await until("it is healthy", async () => {
      const { code, err } = await inside("/usr/bin/ngrokd", "health");
      if (code !== 0) throw new Error(err);
      return true;
    });
    const hosts = await until("the name is in its hosts file", () => {
      const text = readFileSync(at("bundle/rootfs/etc/ngrokd/hosts"), "utf8");
      return text.includes("hello.demo") && text.includes("echo.demo") && text;
    });
    const [, web = ""] = /^(\S+)\thello\.demo$/m.exec(hosts) ?? [];
    [, address = ""] = /^(\S+)\techo\.demo$/m.exec(hosts) ?? [];
    expect((await run(["curl", "-sS", `http://${web}:8080/`])).out).toBe("from the container");
    const { json } = await inside("/usr/bin/ngrokd", "status", "--json");
    expect(json.phase).toBe("serving");
  });

  test.skipIf(without)("goes on after an upgrade inside, and no connection is lost", async () => {
    const first = await pid();
    const open = await dial(address, 7000);
    await open.write("before");
    expect(await open.read(6)).toBe("before");
    const { json, err } = await inside("/usr/bin/ngrokd", "upgrade", "--json");
    expect({ json, err }).toMatchObject({ json: { way: "in place", pid: 1 }, err: "" });
    // A new one waits for the end of the open one, and for the next program.
    const waiting = await dial(address, 7000);
    await waiting.write("new");
    await open.write(" and after");
    expect(await open.read(10)).toBe(" and after");
    open.end();
    expect(await open.rest()).toBe("");
    expect(await waiting.read(3)).toBe("new");
    waiting.end();
    expect(await waiting.rest()).toBe("");
    expect(await pid()).toBe(first);
    // It carries connections before its first poll has ended.
    await until(
      "it is healthy again",
      async () => (await inside("/usr/bin/ngrokd", "health")).code === 0,
    );
  });
});
