import { beforeAll, expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

stories("a daemon with a configuration, a socket and a hosts file of its own", () => {
  const [config, socket, hosts] = ["/run/own/config.yml", "/run/own/ngrokd.sock", "/run/own/hosts"];
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    const server = { client_cert: "/run/own/tls.crt", client_key: "/run/own/tls.key" };
    writeConfig(configFor(cloud, { server, bound_endpoints: { poll_interval: 3600 } }), config);
    writeFileSync(hosts, "127.0.0.1 localhost\n");
    daemon = await serve({
      args: `--config ${config} --socket ${socket}`,
      socket,
      env: { NGROKD_HOSTS_PATH: hosts },
    });
    await daemon.becomes("hello.demo", "listening");
  });

  test("is checked with its own configuration if it is named by its socket", async () => {
    for (const [words, env] of [
      [`--socket ${socket}`, {}],
      ["", { NGROKD_SOCKET: socket }],
    ] as const) {
      const [operator] = await cloud.operators();
      await until("no deadline is missed", async () => {
        const doctor = (await examine(`doctor --json ${words}`, { env })).json;
        const textOf = (check: string): string =>
          doctor.findings.find((finding: { check: string }) => finding.check === check).text;
        expect(textOf("configuration")).toBe(`"${config}" is valid`);
        expect(textOf("operator")).toContain(operator?.id ?? "an operator");
        const why = await examine(`why hello.demo ${words}`, { env });
        expect(why.out).toMatch(/^ok +Connection /m);
        return true;
      });
    }
    expect(
      (await examine("doctor --json --config /nowhere.yml", { env: { NGROKD_SOCKET: socket } }))
        .out,
    ).toContain('\\"/nowhere.yml\\"');
  });

  test("has its own hosts file planned for, and the machine's left alone", async () => {
    for (const words of [`--config ${config} --socket ${socket}`, `--socket ${socket}`]) {
      expect((await ngrokd(`plan ${words}`)).out).toBe(
        "Nothing would change; endpoints served: 1.\n",
      );
    }
    // One poll comes half a minute after the registration, and may serve a name
    // before it is planned for.
    let added = 0;
    await until("a plan has another name", async () => {
      added += 1;
      await cloud.add(`http://more${added}.demo`, page("more").address);
      const { out } = await ngrokd(`plan --config ${config} --socket ${socket}`);
      return out.includes(`\n${hosts}:\n`);
    });
    expect(readFileSync("/etc/hosts", "latin1")).not.toContain("demo");
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync(hosts, "latin1")).toBe("127.0.0.1 localhost\n");
  });
});

stories("a second daemon with a socket of its own and the same hosts file", () => {
  const [config, socket, hosts] = ["/run/own/config.yml", "/run/own/ngrokd.sock", "/etc/hosts"];
  const own = `--config ${config} --socket ${socket}`;
  let daemon: Daemon;

  beforeAll(async () => {
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const server = { client_cert: "/run/own/tls.crt", client_key: "/run/own/tls.key" };
    writeConfig(configFor(cloud, { server }), config);
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
  });

  test("is refused by name while the first lives, whose names stay", async () => {
    const before = readFileSync(hosts, "latin1");
    const { pid } = await daemon.status();
    const second = await ngrokd(`serve ${own}`);
    expect(second.code).toBe(6);
    expect(second.err).toContain(`pid ${pid} on the control socket`);
    expect(second.err).toContain("NGROKD_HOSTS_PATH");
    expect(readFileSync(hosts, "latin1")).toBe(before);
  });

  test("cannot take the first one's names out by undo either", async () => {
    const before = readFileSync(hosts, "latin1");
    const undone = await ngrokd(`undo --yes ${own}`);
    expect(undone.code).toBe(1);
    expect(undone.out).toContain("a running daemon keeps its names there");
    expect(readFileSync(hosts, "latin1")).toBe(before);
  });

  test("takes the file over from a first that was killed, and leaves nothing behind", async () => {
    await daemon.stop("SIGKILL");
    const second = await serve({ args: own, socket });
    await second.becomes("hello.demo", "listening");
    expect(await second.stop()).toBe(0);
    const left = ["/etc", "/run"].flatMap((folder) =>
      readdirSync(folder).filter((name) => name.startsWith(".hosts")),
    );
    expect(left).toEqual([]);
    expect(readFileSync(hosts, "latin1")).not.toContain("demo");
  });
});
