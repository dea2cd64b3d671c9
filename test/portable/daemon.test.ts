// Stories of the compiled binary that need neither Linux nor root, for every
// system on which it runs. They keep to a folder of their own, and import
// nothing of the machine of the other stories (support/machine.ts).

import { afterEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const binary = process.env.NGROKD_BINARY ?? join(import.meta.dirname, "..", "..", "dist", "ngrokd");
const foreign = "127.0.0.1 localhost\n";
const undo: (() => unknown)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

test("serves an endpoint, ends without a trace, and keeps its address over a kill", async () => {
  const story = await begun();
  const first = await story.serve();
  const ip = await story.listening();
  expect(await story.page(ip)).toBe("hello");
  expect(story.hosts()).toContain(`${ip}\thello.demo`);
  first.kill("SIGKILL");
  await first.exited;

  const second = await story.serve();
  expect(await story.listening()).toBe(ip);
  expect(await story.page(ip)).toBe("hello");
  second.kill("SIGTERM");
  expect(await second.exited).toBe(0);
  expect(story.hosts()).toBe(foreign);
  expect({ socket: existsSync(story.socket) }).toEqual({ socket: false });
});

test("status, list, plan, doctor and why answer, and undo has nothing to take back", async () => {
  const story = await begun();
  const daemon = await story.serve();
  await story.listening();
  for (const words of ["status", "list", "plan"]) {
    const { code, out } = await story.ngrokd(`${words} --json`);
    expect({ words, code, isJson: isJson(out) }).toEqual({ words, code: 0, isJson: true });
  }
  await until("why has no deadline missed", async () => {
    const { code, out } = await story.ngrokd("why hello.demo --json");
    expect({ code, isJson: isJson(out) }).toEqual({ code: 0, isJson: true });
    return true;
  });
  await until("doctor has no deadline missed", async () => {
    const { findings } = JSON.parse((await story.ngrokd("doctor --json")).out);
    expect(findings.filter(({ level }: { level: string }) => level === "failure")).toEqual([]);
    return true;
  });
  daemon.kill("SIGTERM");
  await daemon.exited;
  const { code, out } = await story.ngrokd("undo --dry-run --json");
  expect({ code, steps: JSON.parse(out).steps }).toEqual({ code: 0, steps: [] });
});

test("a changed configuration counts after reload, and a wrong one does not", async () => {
  const story = await begun();
  await story.serve();
  await story.listening();
  story.configure({ names: { deny: ["hello.demo"] } });
  expect((await story.ngrokd("reload --json")).code).toBe(0);
  await until("the name is gone", async () => story.hosts() === foreign);
  story.configure({ names: 7 });
  const { code, err } = await story.ngrokd("reload");
  expect({ isRefused: code !== 0, err }).toMatchObject({
    isRefused: true,
    err: expect.stringContaining("names"),
  });
});

/** A folder with a configuration, a stand-in for ngrok, and a service. */
async function begun() {
  // Short, since a socket's path has 104 bytes on macOS.
  const folder = mkdtempSync("/tmp/ngrokd-");
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => join(folder, name);
  const service = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
  undo.push(() => service.stop(true));
  const port = await freePort();
  writeFileSync(at("hosts"), foreign);
  const cloudWords = `cloud --json --api-port 0 --ingress-port 0 --ca-file ${at("ca.crt")}`;
  const endpoint = `http://hello.demo:${port}=127.0.0.1:${service.port}`;
  const cloud = started([...cloudWords.split(" "), "--endpoint", endpoint], at("cloud.log"));
  const { apiUrl, ingress, apiKey } = await until("the stand-in is ready", async () =>
    JSON.parse(readFileSync(at("cloud.log.out"), "utf8").split("\n")[0] ?? ""),
  );
  undo.push(() => cloud.kill("SIGKILL"));
  const configure = (more: object = {}): void =>
    writeFileSync(
      at("config.yml"),
      JSON.stringify({
        api: { url: apiUrl, key: apiKey },
        ingressEndpoint: ingress,
        server: {
          socket_path: at("socket"),
          client_cert: at("tls.crt"),
          client_key: at("tls.key"),
          ingress_ca: at("ca.crt"),
          health_port: "any",
        },
        bound_endpoints: { poll_interval: 1 },
        ...more,
      }),
      { mode: 0o600 },
    );
  configure();
  const common = ["--config", at("config.yml")];
  const ngrokd = async (words: string) => {
    const [word = "", ...rest] = words.split(" ");
    const child = Bun.spawn([binary, word, ...rest, ...common], {
      env: envIn(at("hosts")),
      stdin: "ignore",
      stderr: "pipe",
    });
    const [out, err, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { out, err, code };
  };
  return {
    ngrokd,
    configure,
    socket: at("socket"),
    hosts: () => readFileSync(at("hosts"), "utf8"),
    async serve() {
      const daemon = started(["serve", ...common], at("daemon.log"), envIn(at("hosts")));
      undo.push(async () => {
        daemon.kill("SIGKILL");
        await daemon.exited;
      });
      await until("the daemon answers", async () => (await ngrokd("status --json")).code === 0);
      return daemon;
    },
    /** Waits until the endpoint listens, and returns its address. */
    listening: async () =>
      await until("the endpoint listens", async () => {
        const { out } = await ngrokd("list --json");
        const [item] = JSON.parse(out) as { state: string; ip: string }[];
        return item?.state === "listening" && item.ip;
      }),
    page: async (ip: string) =>
      await (
        await fetch(`http://${ip}:${port}/`, {
          headers: { host: `hello.demo:${port}`, connection: "close" },
        })
      ).text(),
  };
}

const envIn = (hosts: string): Record<string, string> => ({
  PATH: process.env.PATH ?? "",
  HOME: process.env.HOME ?? "/",
  NGROKD_HOSTS_PATH: hosts,
});

function started(words: readonly string[], log: string, env = envIn("/dev/null")) {
  return Bun.spawn([binary, ...words], {
    env,
    stdin: "ignore",
    stdout: Bun.file(`${log}.out`),
    stderr: Bun.file(log),
  });
}

async function freePort(): Promise<number> {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response() });
  const { port = 0 } = server;
  await server.stop(true);
  return port;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** An exception counts as "not yet". */
async function until<T>(what: string, probe: () => Promise<T>): Promise<Exclude<T, false>> {
  const deadline = performance.now() + 30_000;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const seen = await probe();
      if (seen !== false) return seen as Exclude<T, false>;
    } catch (error) {
      last = error;
    }
    await Bun.sleep(50);
  }
  throw new Error(`waited in vain until ${what}`, { cause: last });
}
