import { beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import {
  binary,
  type Daemon,
  defaultConfig,
  ngrokd,
  serve,
  writeConfig,
} from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { dial, echo, resolve, upstream } from "../support/tcp.ts";
import { page } from "../support/web.ts";

/** The log's messages about reloads. */
const reloads = (daemon: Daemon): string[] =>
  daemon
    .lines()
    .flatMap(({ message }) =>
      message.startsWith("Reloaded the configuration: ") ? [message.slice(28)] : [],
    );

/**
 * Waits for the reload, by the daemon, which checks its file every 3.5 s, or by
 * a story's command or signal.
 */
const told = async (daemon: Daemon, text: string): Promise<void> => {
  await until(`the log says "${text}"`, () => reloads(daemon).includes(text));
};

let cloud: Cloud;
let daemon: Daemon;
let config: (more?: object) => string;

const polling = (seconds: number): string =>
  config({ bound_endpoints: { poll_interval: seconds } });

const begin = async () => {
  ({ cloud, daemon } = await registered());
  config = (more = {}) =>
    JSON.stringify(configFor(cloud, { server: { log_level: "info" }, ...more }));
};

stories("a configuration that changes while the daemon runs", () => {
  beforeAll(begin);

  test("is read when it is saved in place, renamed into place, or written as by vim", async () => {
    writeFileSync(defaultConfig, polling(101));
    await told(daemon, "bound_endpoints.poll_interval is 101");

    writeFileSync(`${defaultConfig}.new`, polling(102), { mode: 0o600 });
    renameSync(`${defaultConfig}.new`, defaultConfig);
    await told(daemon, "bound_endpoints.poll_interval is 102");

    renameSync(defaultConfig, `${defaultConfig}~`);
    writeFileSync(defaultConfig, polling(103), { mode: 0o600 });
    unlinkSync(`${defaultConfig}~`);
    await told(daemon, "bound_endpoints.poll_interval is 103");
    expect(reloads(daemon)).toHaveLength(3);
    expect((await daemon.status()).warnings).toEqual([]);
  });

  test("is followed through links that are swapped, as Kubernetes mounts its volumes", async () => {
    const mount = "/run/story/volume";
    const version = (name: string, text: string): void => {
      mkdirSync(`${mount}/${name}`, { recursive: true });
      writeFileSync(`${mount}/${name}/config.yml`, text, { mode: 0o600 });
    };
    version("..1", polling(104));
    symlinkSync("..1", `${mount}/..data`);
    symlinkSync(`${mount}/..data/config.yml`, `${defaultConfig}.new`);
    renameSync(`${defaultConfig}.new`, defaultConfig);
    await told(daemon, "bound_endpoints.poll_interval is 104");
    version("..2", polling(105));
    symlinkSync("..2", `${mount}/..data_tmp`);
    renameSync(`${mount}/..data_tmp`, `${mount}/..data`);
    rmSync(`${mount}/..1`, { recursive: true });
    await told(daemon, "bound_endpoints.poll_interval is 105");
    unlinkSync(defaultConfig);
    writeFileSync(defaultConfig, polling(106), { mode: 0o600 });
    await told(daemon, "bound_endpoints.poll_interval is 106");
  });

  test("is read again at SIGHUP and by `ngrokd reload`, which prints the result", async () => {
    // The daemon has just checked by itself, and does so again in 3.5 s. So the
    // command is the first to read the next change, or the one after.
    let [before, after] = [106, 107];
    await until("the command is the first to read a change", async () => {
      writeFileSync(defaultConfig, polling(after));
      const { code, out } = await ngrokd("reload");
      expect(code).toBe(0);
      const row = new RegExp(`bound_endpoints\\.poll_interval +${before} +${after} +now`);
      [before, after] = [after, before];
      return row.test(out);
    });
    expect((await ngrokd("reload")).out).toBe(`Nothing has changed in "${defaultConfig}".\n`);
    writeFileSync(defaultConfig, polling(108));
    daemon.kill("SIGHUP");
    await told(daemon, "bound_endpoints.poll_interval is 108");
    expect((await ngrokd("reload --json")).json).toEqual({
      ok: true,
      config_path: defaultConfig,
      changes: [],
      problems: [],
      warnings: [],
    });
  });
});

stories("a changed setting", () => {
  beforeAll(begin);

  test("has a poll interval that counts at once, not after the one that was", async () => {
    const id = await cloud.add("http://soon.demo", page("soon").address);
    writeFileSync(defaultConfig, polling(1));
    await daemon.becomes("soon.demo", "listening");
    await cloud.remove(id);
    await daemon.becomes("soon.demo", "gone");
  });

  test("has selectors that are set at ngrok", async () => {
    const [operator] = await cloud.operators();
    const selectors = async (): Promise<string[]> =>
      (await cloud.api("GET", `/kubernetes_operators/${operator?.id}`)).binding.endpoint_selectors;
    writeFileSync(
      defaultConfig,
      config({ bound_endpoints: { selectors: ["true", "endpoint.proto == 'tcp'"] } }),
    );
    await daemon.reload();
    await until("the log tells of it", () =>
      reloads(daemon).some((text) => text.includes("bound_endpoints.selectors is ")),
    );
    await until("ngrok knows", async () => (await selectors()).length === 2);
    writeFileSync(defaultConfig, config());
    await daemon.reload();
    await until("ngrok knows", async () => (await selectors()).length === 1);
  });

  test("has selectors that choose the served endpoints", async () => {
    await cloud.add("http://chosen.demo", page("chosen").address);
    await cloud.add("tcp://other.demo:7000", page("other").address);
    writeFileSync(defaultConfig, polling(1));
    await daemon.becomes("other.demo", "listening");
    const bound_endpoints = { selectors: ["endpoint.proto == 'http'"], poll_interval: 1 };
    writeFileSync(defaultConfig, config({ bound_endpoints }));
    await daemon.becomes("other.demo", "gone");
    await daemon.becomes("chosen.demo", "listening");
    writeFileSync(defaultConfig, polling(1));
    await daemon.becomes("other.demo", "listening");
  });

  test("has selectors that ngrok refuses: the old ones count, and status says why", async () => {
    const bound_endpoints = { selectors: ["not cel ("], poll_interval: 1 };
    writeFileSync(defaultConfig, config({ bound_endpoints }));
    await daemon.reload();
    const warned = async (): Promise<boolean> =>
      (await daemon.status()).warnings.join("\n").includes("ERR_NGROK_19003");
    await until("status says why", warned);
    await daemon.becomes("chosen.demo", "listening");
    writeFileSync(defaultConfig, polling(1));
    await daemon.reload();
    await until("status forgets it", async () => !(await warned()));
  });

  test("has a log level and format that count at once", async () => {
    const debug = (): boolean =>
      daemon.log().includes("DEBUG") || daemon.lines().some(({ level }) => level === "debug");
    expect(debug()).toBe(false);
    writeFileSync(defaultConfig, config({ server: { log_level: "debug" } }));
    await ngrokd("reload");
    await told(daemon, "server.log_level is debug");
    await cloud.remove(await cloud.add("http://other.demo", page("other").address));
    await cloud.add("http://more.demo", page("more").address);
    await until("something is told at debug level", debug);
    writeFileSync(defaultConfig, config({ server: { log_format: "text" } }));
    await ngrokd("reload");
    await until("the log is text", () =>
      /^\d\d:\d\d:\d\d info +Reloaded the configuration: .*log_format is text/m.test(daemon.log()),
    );
    writeFileSync(defaultConfig, config());
    await ngrokd("reload");
  });
});

stories("a configuration that is wrong, gone or needs a restart", () => {
  beforeAll(begin);

  test("changes nothing while it is wrong; log and status name the line", async () => {
    const verdicts = (): string[] =>
      daemon
        .lines()
        .flatMap(({ message }) => (/cannot be used|is valid again/.test(message) ? [message] : []));
    const before = verdicts().length;
    const wrong =
      "bound_endpoints:\n  poll_interval: 1\nserver:\n  log_level: loud\nforward: { open_timeout: 3 }\n";
    // At once, since the daemon may see the empty file of a slow write.
    writeFileSync(`${defaultConfig}.new`, wrong, { mode: 0o600 });
    renameSync(`${defaultConfig}.new`, defaultConfig);
    const place = `${defaultConfig}:4:14: server.log_level is "loud"; allowed: debug, info, warn or error`;
    const warning = await until("status warns", async () => (await daemon.status()).warnings[0]);
    expect(warning).toBe(
      `The configuration cannot be used, and the daemon keeps the one in effect: ${place}`,
    );
    const { code, err } = await ngrokd("reload");
    expect(code).toBe(1);
    expect(err).toContain(`was not applied, and nothing has changed:\n  ${place}\n`);
    appendFileSync(defaultConfig, "# saved again\n");
    const again = await ngrokd("reload --json");
    expect(again.code).toBe(1);
    expect(again.json).toMatchObject({
      ok: false,
      changes: [],
      problems: [{ line: 4, column: 14, key: "server.log_level" }],
    });
    expect((await daemon.status()).phase).toBe("serving");
    // Wrapped, as all texts are.
    expect((await ngrokd("status")).out.replaceAll(/\s+/g, " ")).toContain(place);
    writeFileSync(defaultConfig, config());
    await until("status warns no more", async () => (await daemon.status()).warnings.length === 0);
    await until("the log tells of it", () => verdicts().length > before + 1);
    expect(verdicts().slice(before)).toEqual([
      warning,
      `The configuration "${defaultConfig}" is valid again`,
    ]);
  });

  test("may be gone or cut to nothing for a while: the key and all else stay", async () => {
    writeFileSync(defaultConfig, "");
    await until("status warns", async () =>
      (await daemon.status()).warnings.some((text) => text.includes("it is empty now")),
    );
    unlinkSync(defaultConfig);
    await until("status warns", async () =>
      (await daemon.status()).warnings.some((text) =>
        text.includes("there is no such file any more"),
      ),
    );
    await daemon.refresh();
    expect(await daemon.status()).toMatchObject({ phase: "serving", last_poll: { ok: true } });
    writeFileSync(defaultConfig, config(), { mode: 0o600 });
    await until("status warns no more", async () => (await daemon.status()).warnings.length === 0);
  });

  test("names settings for a restart in reply, log and status; the rest counts at once", async () => {
    // As above: the command is the first to read a change, or a later one.
    let [before, after] = [10, 7];
    const out = await until("the command is the first to read a change", async () => {
      writeFileSync(
        defaultConfig,
        config({ server: { socket_path: "/run/else.sock" }, forward: { open_timeout: after } }),
      );
      const { code, out } = await ngrokd("reload --socket /var/run/ngrokd.sock");
      expect(code).toBe(0);
      const row = new RegExp(`forward\\.open_timeout +${before} +${after} +now`);
      [before, after] = [after, before];
      return row.test(out) && out;
    });
    expect(out).toMatch(
      /server\.socket_path +\/var\/run\/ngrokd\.sock +\/run\/else\.sock +after a restart of the daemon/,
    );
    const warning =
      "server.socket_path has changed to /run/else.sock, which needs a restart of the daemon; until then it is /var/run/ngrokd.sock";
    expect((await daemon.status()).warnings).toEqual([warning]);
    expect(daemon.lines().filter(({ message }) => message === warning)).toHaveLength(1);
    writeFileSync(defaultConfig, config());
    await ngrokd("reload");
    expect((await daemon.status()).warnings).toEqual([]);
  });

  test("moves the health server, and says if it cannot", async () => {
    const health = (port: number) =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(
        (reply) => reply.status,
        () => 0,
      );
    expect(await health(8081)).toBe(200);
    writeFileSync(defaultConfig, config({ server: { health_port: 18_081 } }));
    await ngrokd("reload");
    expect({ oldPort: await health(8081), newPort: await health(18_081) }).toEqual({
      oldPort: 0,
      newPort: 200,
    });
    const taken = await echo();
    writeFileSync(
      defaultConfig,
      config({ server: { health_port: Number(taken.address.split(":")[1]) } }),
    );
    await ngrokd("reload");
    expect((await daemon.status()).warnings[0]).toContain("There is no health server");
    writeFileSync(defaultConfig, config());
    await ngrokd("reload");
    expect((await daemon.status()).warnings).toEqual([]);
    expect(await health(8081)).toBe(200);
    await told(daemon, "server.health_port is 8081");
  });

  test("is not read again because `ngrokd set-api-key` has written the key into it", async () => {
    const before = daemon.log().length;
    const other = await ngrokd("set-api-key -", { stdin: `${cloud.apiKey}` });
    expect(other.code).toBe(0);
    appendFileSync(defaultConfig, "\n");
    expect((await ngrokd("reload --json")).json).toMatchObject({ ok: true, changes: [] });
    expect(daemon.log().slice(before)).not.toContain("Reloaded");
  });
});

stories("a reload and the connections that are open", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  const write = (more: Parameters<typeof configFor>[1]): void =>
    writeConfig(configFor(cloud, more));

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
  });

  test("another ingress carries new connections, and the old one keeps its own", async () => {
    const open = await dial("echo.demo", 7000);
    await open.write("one");
    expect(await open.read(3)).toBe("one");
    const seen: string[] = [];
    const [host = "", port = ""] = cloud.ingress.split(":");
    // A second way to the same ingress.
    const other = await upstream((socket) => {
      seen.push("came");
      void dial(host, Number(port)).then(({ socket: far }) => {
        socket.pipe(far).pipe(socket);
        far.on("error", () => socket.destroy());
        socket.on("close", () => far.destroy());
      });
    });
    write({ ingressEndpoint: other.address });
    await ngrokd("reload");
    await told(daemon, `ingressEndpoint is ${other.address}`);
    expect((await daemon.status()).ingress_endpoint).toBe(other.address);
    const next = await dial("echo.demo", 7000);
    await next.write("two");
    expect(await next.read(3)).toBe("two");
    expect(seen.length).toBeGreaterThan(0);
    await open.write("three");
    expect(await open.read(5)).toBe("three");
    for (const one of [open, next]) one.end();
    expect({ open: await open.left, next: await next.left }).toEqual({ open: "end", next: "end" });
    write({});
    await ngrokd("reload");
    expect((await daemon.status()).ingress_endpoint).toBe(cloud.ingress);
  });

  test("another address range moves the names, and open connections go on", async () => {
    const open = await dial("echo.demo", 7000);
    await open.write("one");
    expect(await open.read(3)).toBe("one");
    write({ net: { subnet: "127.44.0.0/16" } });
    await ngrokd("reload");
    await until("the name has moved", async () =>
      (await resolve("echo.demo"))?.startsWith("127.44."),
    );
    // The name goes first, and then its old address.
    const states = async (): Promise<string> => (await daemon.list()).map(({ state }) => state).sort().join(" "); // biome-ignore format: one line
    await until("the old address drains", async () => (await states()) === "draining listening");
    const next = await dial("echo.demo", 7000);
    await next.write("two");
    expect(await next.read(3)).toBe("two");
    await open.write("three");
    expect(await open.read(5)).toBe("three");
    open.end();
    expect(await open.left).toBe("end");
    next.end();
    expect(await next.left).toBe("end");
    await until("nothing drains", async () => (await states()) === "listening");
    await until("nothing is open", async () => (await daemon.status()).connections.active === 0);
    write({});
    await ngrokd("reload");
  });

  test("a limit counts for the next connection, and a missing CA changes nothing", async () => {
    const { ingress_ca } = (configFor(cloud) as { server: { ingress_ca: string } }).server;
    write({ forward: { max_connections: 1 }, server: { ingress_ca: "/run/no-such-ca.pem" } });
    const refused = await ngrokd("reload");
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("server.ingress_ca cannot be used");
    expect((await daemon.status()).connections.limit).not.toBe(1);
    write({ forward: { max_connections: 1 }, server: { ingress_ca } });
    await ngrokd("reload");
    expect((await daemon.status()).connections.limit).toBe(1);
    const first = await dial("echo.demo", 7000);
    await first.write("x");
    expect(await first.read(1)).toBe("x");
    // It may be reset before it sees that it was open.
    const left = dial("echo.demo", 7000).then((second) => second.left);
    expect(await left.catch((error: NodeJS.ErrnoException) => error.code)).toMatch(
      /^(reset|ECONNRESET)$/,
    );
    first.end();
    await first.left;
    write({});
    await ngrokd("reload");
  });

  test("a hundred reloads under traffic lose nothing", async () => {
    const streams = await Promise.all(
      Array.from({ length: 4 }, async (_, i) => {
        const peer = await dial("echo.demo", 7000);
        let rounds = 0;
        let going = true;
        const done = (async () => {
          while (going) {
            const text = `${i} ${rounds} ${"x".repeat(20_000)}`;
            await peer.write(text);
            expect(await peer.read(text.length)).toBe(text);
            rounds += 1;
          }
          peer.end();
          expect(await peer.rest()).toBe("");
        })();
        const finish = (): void => {
          going = false;
        };
        return { done, rounds: () => rounds, finish };
      }),
    );
    for (let i = 0; i < 100; i += 1) {
      write({
        bound_endpoints: { poll_interval: 1 + (i % 5) },
        forward: {
          open_timeout: 10 + (i % 3),
          session_resumption: i % 2 === 0,
          pool: { max: i % 4 === 0 ? 0 : 16 },
        },
      });
      if (i % 10 === 0) daemon.kill("SIGHUP");
      expect((await daemon.reload()).ok).toBe(true);
      const short = await dial("echo.demo", 7000);
      await short.write(`short ${i}`);
      short.end();
      expect(await short.rest()).toBe(`short ${i}`);
    }
    for (const stream of streams) stream.finish();
    await Promise.all(streams.map(({ done }) => done));
    expect(Math.min(...streams.map(({ rounds }) => rounds()))).toBeGreaterThan(10);
    await until(
      "all connections are accounted for",
      async () => (await daemon.endpoint("echo.demo"))?.connections.active === 0,
    );
    expect((await daemon.endpoint("echo.demo"))?.connections).toMatchObject({
      errors: expect.any(Number),
      refused: 0,
    });
    expect((await daemon.endpoint("echo.demo"))?.errors_by_kind).toMatchObject({
      dial: 0,
      tls: 0,
      header: 0,
      timeout: 0,
      reset: 0,
    });
  });

  test("SIGHUP while the daemon drains neither cuts nor changes anything", async () => {
    const open = await dial("echo.demo", 7000);
    await open.write("one");
    expect(await open.read(3)).toBe("one");
    const ended = daemon.stop();
    await until("it stops", () => daemon.log().includes("Stopping"));
    write({ server: { log_level: "debug" } });
    daemon.kill("SIGHUP");
    await open.write("two");
    expect(await open.read(3)).toBe("two");
    open.end();
    expect(await open.left).toBe("end");
    expect(await ended).toBe(0);
    expect(daemon.log()).not.toContain("log_level is debug");
  });
});

stories("the origin of the configuration", () => {
  test("a file that is made after the start is found, and the key in it is used", async () => {
    const cloud = await startCloud();
    const daemon = await serve();
    await until(
      "it waits for a key",
      async () => (await daemon.status()).reason === "there is no API key",
    );
    writeConfig(configFor(cloud));
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    expect(await cloud.operators()).toHaveLength(1);
    expect(daemon.log()).not.toContain(cloud.apiKey);
    await daemon.stop();
  });

  test("the environment goes before the file, at a reload too, and a flag before both", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(
      configFor(cloud, { api: { key: "a-key-of-somebody-else" }, server: { log_level: "warn" } }),
    );
    const daemon = await serve({ args: "--debug", env: { NGROK_API_KEY: cloud.apiKey } });
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    writeConfig(
      configFor(cloud, { api: { key: "another-key-of-somebody" }, server: { log_level: "error" } }),
    );
    expect((await ngrokd("reload --json")).json).toMatchObject({ ok: true, changes: [] });
    await daemon.refresh();
    expect((await daemon.status()).phase).toBe("serving");
    await daemon.stop();
  });

  test("the same under Deno: a renamed file, SIGHUP, a wrong one", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud));
    const daemon = await serve({ deno: true });
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    writeConfig(
      configFor(cloud, { bound_endpoints: { poll_interval: 2 } }),
      `${defaultConfig}.new`,
    );
    renameSync(`${defaultConfig}.new`, defaultConfig);
    await told(daemon, "bound_endpoints.poll_interval is 2");
    writeConfig(configFor(cloud, { bound_endpoints: { poll_interval: 3 } }));
    daemon.kill("SIGHUP");
    await told(daemon, "bound_endpoints.poll_interval is 3");
    writeFileSync(defaultConfig, "server: [\n");
    const { code, err } = await ngrokd("reload");
    expect({ code, namesFile: err.includes(`${defaultConfig}:`) }).toEqual({
      code: 1,
      namesFile: true,
    });
    expect(await daemon.stop()).toBe(0);
  });

  test("SIGHUP ends other commands: `ngrokd list --watch`", async () => {
    freshMachine();
    const { daemon } = await registered();
    const child = Bun.spawn([binary(), "list", "--watch"], {
      stdout: "pipe",
      stderr: "ignore",
      stdin: "ignore",
    });
    atEnd(() => child.kill("SIGKILL"));
    const reader = child.stdout.getReader();
    await reader.read();
    child.kill("SIGHUP");
    await child.exited;
    expect(await daemon.stop()).toBe(0);
  });

  test("a terminal that is closed takes the daemon with it, and leaves no names behind", async () => {
    freshMachine();
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const child = Bun.spawn([binary(), "serve"], {
      terminal: { cols: 80, rows: 24, data() {} },
      cwd: "/",
    });
    atEnd(() => child.kill("SIGKILL"));
    await until("the name resolves", async () => await resolve("hello.demo"));
    child.terminal?.close();
    expect(await child.exited).toBe(0);
    expect(readFileSync("/etc/hosts", "utf8")).not.toContain("ngrokd");
  });
});
