import { expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { randomFrom } from "../soak/pattern.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { binary, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { noResolved, type Resolved, startResolved } from "../support/resolved.ts";
import { atEnd, foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/**
 * Lives of a daemon that changes all of a machine that it can change: a virtual
 * interface with IPv6, the hosts file, a DNS server of its own and the
 * machine's resolver, doors for other machines, and two profiles. Each life
 * ends by kill -9 at a random moment, while endpoints come and go and programs
 * ask for names below a wildcard. WIDE_SEED repeats a run, as far as the
 * machine's timing permits. `make soak` has WIDE_LIVES=100.
 */
const seed = Number(process.env.WIDE_SEED ?? Date.now() % 1_000_000);
const lives = Number(process.env.WIDE_LIVES ?? 10);
/** Milliseconds: from before the interface to well into serving. */
const longestLife = 1200;

const authorities = "/run/authorities";
const otherResolver =
  "# by the administrator\nnameserver 127.0.0.99\noptions timeout:1 attempts:1\n";

stories(`kill -9 in the widest mode (WIDE_SEED=${seed} WIDE_LIVES=${lives})`, () => {
  const limit = 120_000 + 5000 * lives;

  test.skipIf(noResolved !== "")(
    "leaves nothing on the machine, with split DNS by systemd-resolved",
    async () => await crashes(await startResolved({ withLink: false })),
    limit,
  );

  test(
    "leaves nothing on the machine, with a section in resolv.conf",
    async () => {
      freshMachine();
      writeFileSync("/etc/resolv.conf", otherResolver);
      atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
      await crashes(undefined);
    },
    limit,
  );
});

async function crashes(resolved: Resolved | undefined): Promise<void> {
  const random = randomFrom(seed + (resolved === undefined ? 0 : 1));
  const clouds = await accounts();
  const before = await machine(resolved);
  for (let life = 1; life <= lives; life += 1) {
    const daemon = Bun.spawn({
      cmd: [binary(), "serve"],
      cwd: "/",
      env: { PATH: "/usr/sbin:/usr/bin:/bin" },
      stdin: "ignore",
      stderr: "pipe",
    });
    const end = performance.now() + random() * longestLife;
    const busy = [askAround(end), churn(clouds, random)];
    await Bun.sleep(end - performance.now());
    daemon.kill("SIGKILL");
    const [log] = await Promise.all([daemon.stderr.text(), daemon.exited, ...busy]);
    // The kernel takes these back, without a next start.
    const left = await links();
    if (left !== before.links)
      throw new Error(`seed ${seed}, life ${life}: left is\n${left}\n--- its log\n${log}`);
  }
  await lastLife(resolved);
  await until("systemd-resolved has noticed", async () => {
    const { resolver } = await machine(resolved);
    return resolver === before.resolver;
  });
  expect(await machine(resolved)).toEqual(before);
  expect((await ngrokd("undo --dry-run")).out).toContain("No change of ngrokd is left");
}

/** The last start serves everything, and the stop takes it back. */
async function lastLife(resolved: Resolved | undefined): Promise<void> {
  const daemon = await serve();
  for (const name of ["fixed.demo", "work.demo"]) {
    const { ip = "", ip6 = "" } = await daemon.becomes(name, "listening");
    expect({ name, ip, ip6 }).toMatchObject({
      ip: expect.stringMatching(/^10\.107\./),
      ip6: expect.stringMatching(/^fd/),
    });
    for (const family of ["-4", "-6"])
      expect((await run(["curl", family, "-sS", `http://${name}/`])).out).toBe(name);
    const viaPort = ["--resolve", `${name}:80:192.0.2.50`, `http://${name}/`];
    expect((await run(["curl", "-sS", ...viaPort])).out).toBe(name);
  }
  await until("a name below the wildcard works", async () => {
    const { out } = await run(["curl", "-sS", "--max-time", "5", "http://a.team.internal/"]);
    return out === "wild";
  });
  if (resolved !== undefined)
    expect(await resolved.ctl("domain")).toContain("(ngrokd0): ~team.internal");
  await until("no temporary file is left", () => temporary().length === 0);
  expect(await daemon.stop()).toBe(0);
  expect(temporary()).toEqual([]);
}

/** All that a daemon in this mode could leave behind, outside its folder. */
async function machine(resolved: Resolved | undefined) {
  const files = ["/etc/hosts", "/etc/resolv.conf"].map((path) => readFileSync(path, "latin1"));
  // The global part is of resolv.conf, which systemd-resolved reads now and
  // then.
  const resolver = (await resolved?.ctl("status"))?.replace(/^Global[\s\S]*?(?:\n\n|$)/, "");
  const listeners = await run(["sh", "-c", "ss -Hlntu | awk '{print $1, $5}' | sort"]);
  const sockets = readdirSync("/run").filter((name) => name.startsWith("ngrokd"));
  return { links: await links(), files, resolver, listeners: listeners.out, sockets };
}

async function links(): Promise<string> {
  const show = "ip -o link; ip -o addr; ip route show table all; ip -6 route show table all";
  const { code, out, err } = await run(["sh", "-c", `${show}; ip rule; ip neigh`]);
  if (code !== 0) throw new Error(err);
  return out;
}

const temporary = (): string[] =>
  ["/etc", "/etc/ngrokd", "/etc/ngrokd/profiles/work", "/run"].flatMap((folder) =>
    (existsSync(folder) ? readdirSync(folder) : []).filter((name) =>
      /\.ngrokd\.tmp$|^\.ngrokd-|\.turn$|^hosts\.(?:before|after)$/.test(name),
    ),
  );

/** Two clouds, and the configuration of a daemon for both. */
async function accounts(): Promise<Cloud[]> {
  // Programs ask for addresses only of families that the machine has.
  await run(["ip", "address", "replace", "192.0.2.50/32", "dev", "lo"]);
  atEnd(() => run(["ip", "address", "del", "192.0.2.50/32", "dev", "lo"]));
  const clouds = [await startCloud(), await startCloud()];
  mkdirSync(authorities, { recursive: true });
  for (const [i, cloud] of clouds.entries()) copyFileSync(cloud.caFile, `${authorities}/${i}.crt`);
  const [home, work] = clouds;
  if (home === undefined || work === undefined) throw new Error("there are two clouds");
  await home.add("http://fixed.demo", page("fixed.demo").address);
  await home.add("http://*.team.internal", page("wild").address);
  await work.add("http://work.demo", page("work.demo").address);
  writeConfig(
    configFor(home, {
      server: { ingress_ca: authorities },
      net: { subnet: "10.107.0.0/16", listen_interface: "0.0.0.0" },
      dns: { enabled: true, listen: "10.107.0.1:53", manage_resolv_conf: true },
      access: { rules: [{ endpoint: "*", from: ["192.0.2.0/24"] }] },
      profiles: { work: { api: { url: work.apiUrl, key: work.apiKey } } },
    }),
  );
  expect(readFileSync("/etc/hosts", "utf8")).toBe(foreignHosts);
  return clouds;
}

const [upstream] = ["127.0.0.1:9"];
const churning = new Map<Cloud, string>();

/** Adds an endpoint of one of the accounts, or removes it. */
async function churn(clouds: readonly Cloud[], random: () => number): Promise<void> {
  const cloud = clouds[Math.floor(random() * clouds.length)];
  if (cloud === undefined) return;
  await Bun.sleep(random() * longestLife * 0.4);
  const id = churning.get(cloud);
  if (id === undefined)
    churning.set(cloud, await cloud.add(`tcp://new.demo:70${clouds.indexOf(cloud)}0`, upstream));
  else {
    await cloud.remove(id);
    churning.delete(cloud);
  }
}

/** Asks for one name after the other below the wildcard, until `end`. */
async function askAround(end: number): Promise<void> {
  for (let n = 0; performance.now() < end; n += 1) {
    const limit = AbortSignal.timeout(Math.max(1, end - performance.now()));
    const asking = Bun.spawn({
      cmd: ["getent", "ahosts", `n${n}.team.internal`],
      stdout: "ignore",
      signal: limit,
    });
    await asking.exited;
    await Bun.sleep(20);
  }
}
