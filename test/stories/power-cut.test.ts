import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { fitsKey } from "../../src/cloud/certificate.ts";
import { randomFrom } from "../soak/pattern.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/**
 * The power of a machine fails while endpoints come and go, other programs
 * append lines to the hosts file and the machine registers. The disk is an
 * ext4 of its own that is told to shut down without its journal's last part:
 * what was not synced is lost, as in a power cut. Its mount options hold back
 * what they can. POWER_SEED repeats a run, as far as the machine's timing
 * permits.
 */
const seed = Number(process.env.POWER_SEED ?? Date.now() % 1_000_000);
const cuts = 6;

const [image, disk] = ["/run/disk.img", "/run/disk"];
const [state, hosts, config] = [`${disk}/ngrokd`, `${disk}/hosts`, `${disk}/ngrokd/config.yml`];
const names = ["a.demo", "b.demo", "c.demo", "d.demo", "e.demo", "f.demo"];

const command = (...words: string[]): string => {
  const { status, stderr, error } = spawnSync(words[0] ?? "", words.slice(1), { encoding: "utf8" });
  return status === 0 ? "" : `${words.join(" ")}: ${error?.message ?? stderr}`;
};
const mounted = (): string =>
  command("mount", "-o", "loop,data=writeback,noauto_da_alloc,commit=300", image, disk);

/** Whether this machine can mount a disk of its own, else the reason. */
function diskFault(): string {
  mkdirSync(disk, { recursive: true });
  return command("truncate", "-s", "64M", image) || command("mkfs.ext4", "-q", image) || mounted();
}

/** EXT4_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH. */
function cutPower(): void {
  const { symbols } = dlopen("libc.so.6", {
    ioctl: { args: ["i32", "u64", "ptr"], returns: "i32" },
  });
  const fd = openSync(disk, "r");
  expect(symbols.ioctl(fd, 0x80_04_58_7dn, new Uint32Array([2]))).toBe(0);
  closeSync(fd);
}

stories(`power cuts (POWER_SEED=${seed})`, () => {
  test("six of them under churn: the next start finds all that was saved", async () => {
    const fault = diskFault();
    if (fault !== "") return console.log(`not tried: ${fault}`);
    atEnd(() => command("umount", "-l", disk));
    const cloud = await startCloud();
    const world = await createWorld(cloud, randomFrom(seed));
    for (let cut = 1; cut <= cuts; cut += 1) {
      const daemon = await world.life(cut);
      cutPower();
      await daemon.stop("SIGKILL");
      await until("the disk is free", () => command("umount", disk) === "");
      expect(mounted()).toBe("");
      world.check(cut);
    }
    await (await world.life(cuts + 1)).stop();
    expect(readFileSync(hosts, "latin1")).not.toContain(".demo");
  }, 300_000);
});

async function createWorld(cloud: Cloud, random: () => number) {
  const upstream = page("hello").address;
  const ids = new Map<string, string>();
  let foreign = foreignHosts.split("\n").filter((line) => line !== "");
  let addresses: Record<string, string> = {};
  mkdirSync(state);
  append(`${foreignHosts}\n`);
  writeConfig(
    configFor(cloud, {
      server: { client_cert: `${state}/tls.crt`, client_key: `${state}/tls.key` },
    }),
    config,
  );
  expect(command("sync")).toBe("");

  /** From a start that repairs all to the moment before a cut. */
  async function life(cut: number): Promise<Daemon> {
    // Another machine to ngrok, so that a cut hits a registration, too.
    if (cut % 3 === 0) await forget();
    const daemon = await serve({ args: `--config ${config}`, env: { NGROKD_HOSTS_PATH: hosts } });
    if (cut % 3 !== 0) {
      await until("it serves all", async () => {
        const list = (await daemon.list()).filter(({ state }) => state === "listening");
        return list.map(({ hostname }) => hostname).join() === [...ids.keys()].sort().join();
      });
      addresses = savedAddresses();
    }
    const end = performance.now() + (cut % 3 === 0 ? 400 : 2000) * random();
    while (performance.now() < end) {
      await toggle(names[Math.floor(random() * names.length)] ?? "");
      if (random() < 0.3) {
        const line = `192.0.2.${foreign.length} other${foreign.length}`;
        append(`${line}\n`);
        foreign = [...foreign, line];
      }
      // The fault of a poll is no fault of this story.
      await daemon.refresh().catch(() => undefined);
    }
    return daemon;
  }

  async function toggle(name: string): Promise<void> {
    const id = ids.get(name);
    if (id === undefined) ids.set(name, await cloud.add(`http://${name}`, upstream));
    else await cloud.remove(id);
    if (id !== undefined) ids.delete(name);
  }

  async function forget(): Promise<void> {
    for (const { id } of await cloud.operators())
      await cloud.api("DELETE", `/kubernetes_operators/${id}`);
    for (const name of ["tls.key", "tls.crt", "operator_id", "ingress_endpoint"])
      rmSync(`${state}/${name}`, { force: true });
  }

  function check(cut: number): void {
    const file = (name: string): string | undefined =>
      existsSync(`${state}/${name}`) ? readFileSync(`${state}/${name}`, "utf8") : undefined;
    const lines = readFileSync(hosts, "latin1")
      .split("\n")
      .filter((line) => line !== "");
    const others = lines.filter(
      (line) => !foreign.includes(line) && !/^# |^127\.0\.0\.\d+\t[a-f]\.demo$/.test(line),
    );
    expect({ cut, foreign: lines.filter((line) => foreign.includes(line)), others }).toEqual({
      cut,
      foreign,
      others: [],
    });
    const saved = savedAddresses();
    for (const [name, address] of Object.entries(addresses))
      expect({ cut, name, address: saved[name] }).toEqual({ cut, name, address });
    const [key, cert, operator] = [file("tls.key"), file("tls.crt"), file("operator_id")];
    // The order of saving is key, certificate, ID. So each file implies those
    // before it.
    const fits = cert === undefined || fitsKey(cert, key ?? "");
    const known = operator === undefined || (cert !== undefined && /^k8sop_\w+$/.test(operator));
    expect({ cut, fits, known }).toEqual({ cut, fits: true, known: true });
    expect({ cut, journal: JSON.parse(file("journal.json") ?? "{}").version }).toEqual({
      cut,
      journal: 1,
    });
    JSON.parse(file("endpoints.json") ?? "{}");
  }

  return { life, check };
}

const savedAddresses = (): Record<string, string> =>
  existsSync(`${state}/ip_mappings.json`)
    ? JSON.parse(readFileSync(`${state}/ip_mappings.json`, "utf8"))
    : {};

/** As another program that syncs what it writes. */
function append(text: string): void {
  const fd = openSync(hosts, "a");
  writeSync(fd, text);
  fsyncSync(fd);
  closeSync(fd);
}
