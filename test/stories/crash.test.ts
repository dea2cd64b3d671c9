import { expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { fitsKey } from "../../src/cloud/certificate.ts";
import { randomFrom } from "../soak/pattern.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { binary, defaultConfig, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/**
 * Hundreds of lives, each ended by kill -9 at a random moment. Meanwhile
 * endpoints come and go, other programs edit the hosts file and clients
 * connect. After each life the files on disk are checked. CRASH_SEED repeats a
 * run, as far as the machine's timing permits. CRASH_LIVES makes it longer.
 */
const seed = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);
const lives = Number(process.env.CRASH_LIVES ?? 160);
/** Milliseconds: from before the first file read to well into serving. */
const longestLife = 420;
/**
 * After so many lives the machine is a new one, so that a kill hits
 * registrations as often as polls.
 */
const generation = 12;

const state = "/etc/ngrokd";
const names = ["a.demo", "b.demo", "c.demo", "d.demo", "e.demo", "f.demo"];

stories(`kill -9 at any moment (CRASH_SEED=${seed} CRASH_LIVES=${lives})`, () => {
  for (const inPlace of [false, true]) {
    test(
      `is repaired by the next start; hosts: ${inPlace ? "bind mount" : "plain file"}`,
      async () => {
        freshMachine();
        if (inPlace) {
          writeFileSync("/run/mounted-hosts", foreignHosts);
          await run(["mount", "--bind", "/run/mounted-hosts", "/etc/hosts"]);
          atEnd(() => run(["umount", "-l", "/etc/hosts"]));
        }
        await crashAndCrash(
          inPlace ? Math.ceil(lives / 4) : lives,
          randomFrom(inPlace ? seed + 1 : seed),
        );
      },
      120_000 + 2000 * lives,
    );
  }
});

async function crashAndCrash(count: number, random: () => number): Promise<void> {
  const cloud = await startCloud();
  const world = await createWorld(cloud, random);
  for (let life = 1; life <= count; life += 1) {
    const churn = world.churn();
    const daemon = Bun.spawn({
      cmd: [binary(), "serve"],
      cwd: "/",
      env: { PATH: "/usr/bin:/bin" },
      stdin: "ignore",
      stderr: "pipe",
    });
    const end = performance.now() + random() * longestLife;
    const clients = visit(end);
    await Bun.sleep(end - performance.now());
    daemon.kill("SIGKILL");
    const [log] = await Promise.all([daemon.stderr.text(), daemon.exited, churn, clients]);
    try {
      world.check();
      if (life % generation === 0 || life === count) await world.recovers(life === count);
    } catch (error) {
      throw new Error(
        `seed ${seed}, life ${life}: ${error instanceof Error ? error.stack : error}\n--- its log\n${log}`,
      );
    }
  }
}

/**
 * The invariants of the disk after every crash, and the acts of the clouds and
 * other programs.
 */
async function createWorld(cloud: Cloud, random: () => number) {
  const upstream = page("hello").address;
  const ids = new Map<string, string>();
  let foreign = foreignHosts.split("\n").filter((line) => line !== "");
  let addresses: Record<string, string> = {};
  let foreignLines = 0;
  writeConfig(configFor(cloud));
  const config = readFileSync(defaultConfig, "utf8");
  await toggle("a.demo");

  async function toggle(name: string): Promise<void> {
    const id = ids.get(name);
    if (id === undefined) ids.set(name, await cloud.add(`http://${name}`, upstream));
    else await cloud.remove(id);
    if (id !== undefined) ids.delete(name);
  }

  /** Adds or removes an endpoint. Sometimes another program appends a line. */
  async function churn(): Promise<void> {
    await Bun.sleep(random() * longestLife * 0.4);
    await toggle(names[Math.floor(random() * names.length)] ?? "");
  }

  function check(): void {
    expect(readFileSync(defaultConfig, "utf8")).toBe(config);
    if (!isCutOff()) checkHosts();
    const file = (name: string): string | undefined =>
      existsSync(`${state}/${name}`) ? readFileSync(`${state}/${name}`, "utf8") : undefined;
    const saved = JSON.parse(file("ip_mappings.json") ?? "{}");
    for (const [name, address] of Object.entries(addresses))
      expect({ name, address: saved[name] }).toEqual({ name, address });
    addresses = saved;
    const [key, cert, operator] = [file("tls.key"), file("tls.crt"), file("operator_id")];
    if (key !== undefined) expect(statSync(`${state}/tls.key`).mode & 0o777).toBe(0o600);
    // The order of saving is key, certificate, ID. So each file implies those
    // before it.
    if (cert !== undefined) expect(fitsKey(cert, key ?? "")).toBe(true);
    if (operator !== undefined)
      expect({ hasCertificate: cert !== undefined, operator }).toEqual({
        hasCertificate: true,
        operator: expect.stringMatching(/^k8sop_\w+$/),
      });
    if (file("journal.json") !== undefined)
      expect(JSON.parse(file("journal.json") ?? "").version).toBe(1);
  }

  function checkHosts(): void {
    const lines = readFileSync("/etc/hosts", "latin1")
      .split("\n")
      .filter((line) => line !== "");
    expect(lines.filter((line) => foreign.includes(line))).toEqual(foreign);
    // An entry is complete or missing. The rest is ours.
    const others = lines.filter(
      (line) => !foreign.includes(line) && !/^# |^127\.0\.0\.\d+\t[a-f]\.demo$/.test(line),
    );
    expect(others).toEqual([]);
  }

  /** After the next start everything is right, without a trace of the crash. */
  async function recovers(last: boolean): Promise<void> {
    if (!isCutOff()) appendLine();
    const daemon = await serve();
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    const list = await daemon.list();
    expect(list.map(({ hostname, state }) => [hostname, state])).toEqual(
      [...ids.keys()].sort().map((name) => [name, "listening"]),
    );
    for (const { hostname, ip } of list)
      expect({ hostname, address: addresses[hostname] ?? ip }).toEqual({ hostname, address: ip });
    const operators = await cloud.operators();
    expect(operators.map(({ id }) => id)).toEqual([
      readFileSync(`${state}/operator_id`, "utf8").trim(),
    ]);
    for (const { hostname } of list)
      expect((await run(["curl", "-sS", "--max-time", "60", `http://${hostname}/`])).out).toBe(
        "hello",
      );
    expect((await ngrokd("serve")).code).toBe(6);
    if (last)
      await until("nothing temporary is left", () => leftovers().length === 0, { within: 20_000 });
    expect(await daemon.stop()).toBe(0);
    check();
    expect(readFileSync("/etc/hosts", "latin1")).not.toContain("ngrokd");
    expect(readdirSync("/run").filter((name) => name.startsWith("ngrokd.sock"))).toEqual([]);
    await beginAnew(operators);
  }

  function appendLine(): void {
    foreignLines += 1;
    const line = `192.0.2.${foreignLines} other${foreignLines}`;
    writeFileSync(
      "/etc/hosts",
      `${readFileSync("/etc/hosts", "latin1")}${foreignLines === 1 ? "\n" : ""}${line}\n`,
    );
    foreign = [...foreign, line];
  }

  /** Another machine to ngrok; names keep their addresses. */
  async function beginAnew(operators: readonly { id: string }[]): Promise<void> {
    for (const name of ["tls.key", "tls.crt", "operator_id", "ingress_endpoint"])
      rmSync(`${state}/${name}`, { force: true });
    for (const { id } of operators) await cloud.api("DELETE", `/kubernetes_operators/${id}`);
  }

  return { churn, check, recovers };
}

/**
 * If both copies are there, a write in place was interrupted. The next start
 * finishes it, and only then the file counts.
 */
const isCutOff = (): boolean =>
  existsSync(`${state}/hosts.before`) && existsSync(`${state}/hosts.after`);

const leftovers = (): string[] =>
  ["/etc", state, "/run", "/etc/ssl/certs"].flatMap((folder) =>
    readdirSync(folder).filter((name) =>
      /\.ngrokd\.tmp$|^\.ngrokd-|\.turn$|^hosts\.(before|after)$/.test(name),
    ),
  );

/** Clients for the whole life. Their results do not matter. */
async function visit(end: number): Promise<void> {
  while (performance.now() < end) {
    await fetch("http://127.0.0.2/", { signal: AbortSignal.timeout(100) }).then(
      (reply) => reply.text(),
      () => "",
    );
    await Bun.sleep(10);
  }
}
