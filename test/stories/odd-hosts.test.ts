import { beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { onOwnMachine } from "../support/machine.ts";
import { type Daemon, ngrokd, type Ran, run } from "../support/ngrokd.ts";
import { faultsOf } from "../support/odd.ts";
import { atEnd, foreignHosts, stories } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const path = "/etc/hosts";
const [begin, end] = ["# BEGIN ngrokd managed section", "# END ngrokd managed section"];
const hosts = (): string => readFileSync(path, "latin1");

let cloud: Cloud;
let daemon: Daemon;
let id: string;

/** One daemon for all rows. Its only name comes and goes by its URL. */
async function beginAll(): Promise<void> {
  ({ cloud, daemon } = await registered({ config: { bound_endpoints: { poll_interval: 3600 } } }));
  id = await cloud.add("http://*.off.demo", page("hello").address);
  await daemon.refresh();
}

async function turn(state: "on" | "off"): Promise<Ran> {
  await cloud.change(id, { url: state === "on" ? "http://hello.demo" : "http://*.off.demo" });
  const ran = await ngrokd("refresh");
  expect(faultsOf(ran)).toEqual([]);
  return ran;
}

function clear(): void {
  rmSync(path, { recursive: true, force: true });
}

/** Of one row: what the text is after the name has come and gone. */
interface Oddity {
  readonly name: string;
  readonly text: string | Buffer;
  /** The same as before, unless lines of ngrokd's were in it. */
  readonly after?: string;
  /** In place of a listening endpoint: why it is not served. */
  readonly reason?: string;
  /** What the log says is repaired. */
  readonly repaired?: string;
}

const local = "127.0.0.1 localhost";
const mine = "192.0.2.1 mine";
const old = "127.0.0.9\told.demo";
const oddities: readonly Oddity[] = [
  { name: "odd spacing, comments, no line end", text: foreignHosts },
  { name: "nothing at all", text: "" },
  { name: "a line end alone", text: "\n" },
  { name: "blank lines at the end", text: `${local}\n\n\n` },
  { name: "a comment without a line end", text: "# x" },
  { name: "lines of Windows", text: `${local}\r\n${mine}\r\n` },
  { name: "lines of Windows, the last one without an end", text: `${local}\r\n# x` },
  { name: "line ends of both kinds", text: `${local}\r\n${mine}\n192.0.2.2 b\n` },
  { name: "line ends of old Macs", text: `${local}\r${mine}\r` },
  { name: "a byte order mark", text: `\ufeff${local}\n` },
  { name: "NUL bytes", text: `${local}\0\n\0\0\n` },
  { name: "bytes that are no UTF-8", text: Buffer.from([0x31, 0xff, 0xc3, 0x80, 0x0a]) },
  { name: "UTF-16 without a mark", text: Buffer.from(`${local}\n`, "utf16le") },
  { name: "a block list of 10 MB", text: "0.0.0.0 ads.example\n".repeat(500_000) },
  { name: "a line of a megabyte", text: `192.0.2.1 ${"a ".repeat(500_000)}\n` },
  { name: "IPv6 with zones", text: "::1 localhost\nfe80::1%lo0 localhost\n2001:db8::1 six.demo\n" },
  { name: "tabs before and behind", text: "\t127.0.0.1\t\tlocalhost\t \n" },
  { name: "form feeds and vertical tabs", text: "127.0.0.1\flocalhost\v\n" },
  { name: "an address without a name", text: "192.0.2.1\n" },
  { name: "lines that are none", text: "not a hosts line at all !!\n" },
  { name: "our name in a comment", text: "# 192.0.2.9 hello.demo\n192.0.2.7 a # hello.demo\n" },
  { name: "the section of another program", text: `# BEGIN docker\n${mine}\n# END docker\n` },
  {
    name: "our marker in lower case",
    text: `${begin.toLowerCase()}\n${mine}\n${end.toLowerCase()}\n`,
  },
  { name: "our markers, indented", text: `  ${begin}\n${mine}\n  ${end}\n` },
  { name: "our marker with more words", text: `${begin} of me\n${mine}\n` },
  {
    name: "a begin marker alone",
    text: `${local}\n${begin}\n${mine}\n`,
    after: `${local}\n${mine}\n`,
    repaired: "line 2 began a section that no line ended",
  },
  {
    name: "an end marker alone",
    text: `${local}\n${end}\n${mine}\n`,
    after: `${local}\n${mine}\n`,
    repaired: "line 2 ended a section that no line began",
  },
  {
    name: "the end marker before the begin marker",
    text: `${end}\n${mine}\n${begin}\n`,
    after: `${mine}\n`,
    repaired: "line 3 began a section that no line ended",
  },
  {
    name: "two sections",
    text: `${begin}\n${old}\n${end}\n${local}\n${begin}\n${old}\n${end}\n${mine}\n`,
    after: `${local}\n${mine}\n`,
    repaired: "line 5 began another section; there is one now",
  },
  {
    name: "a section within a section",
    text: `${begin}\n${begin}\n${old}\n${end}\n${end}\n${mine}\n`,
    after: `${mine}\n`,
    repaired: "line 5 ended a section that no line began",
  },
  {
    name: "a foreign line within the section",
    text: `${begin}\n${mine}\n${old}\n${end}\n${local}\n`,
    after: `${mine}\n${local}\n`,
    repaired: 'moved from inside the section to below it: "192.0.2.1 mine"',
  },
  {
    name: "a section that is stale, with white space behind its markers",
    text: `${begin}  \n127.0.0.77\thello.demo\n${end}\t\n${mine}\n`,
    after: `${mine}\n`,
  },
  {
    name: "a section with lines of Windows",
    text: `${begin}\r\n${old}\r\n${end}\r\n${mine}\r\n`,
    after: `${mine}\r\n`,
  },
  {
    name: "a section without a line end",
    text: `${mine}\n${begin}\n${old}\n${end}`,
    after: `${mine}\n`,
  },
  {
    name: "a section of the Go program",
    text: `${begin}\n10.107.0.2   Old.Demo\n10.107.0.3 *.wild.demo\n${end}\n${mine}\n`,
    after: `${mine}\n`,
  },
  { name: "a line for our name", text: "192.0.2.9 hello.demo\n", reason: "192.0.2.9" },
  { name: "a line for it in IPv6", text: "2001:db8::9 hello.demo\n", reason: "2001:db8::9" },
  { name: "a line for it in another case", text: "192.0.2.9 x HELLO.demo.\n", reason: "192.0.2.9" },
];

stories("a hosts file of odd text", () => {
  beforeAll(beginAll);

  test.each(oddities)(
    "$name: the name is served, and no line of others is lost",
    async ({ text, after, reason, repaired = "" }) => {
      clear();
      // A second name, so that it is written in place, which is faster.
      rmSync("/etc/hosts.twin", { force: true });
      writeFileSync("/etc/hosts.twin", text);
      linkSync("/etc/hosts.twin", path);
      const before = hosts();
      expect((await turn("on")).code).toBe(0);
      const [item] = await daemon.list();
      if (reason === undefined) {
        expect(item).toMatchObject({ state: "listening", ip: "127.0.0.2" });
        expect(hosts()).toContain("127.0.0.2\thello.demo");
      } else {
        expect(item).toMatchObject({ state: "unsupported" });
        expect(item?.reason).toContain(`an address of its own, ${reason}, and that line counts`);
        expect(hosts()).toBe(before);
      }
      expect(await daemon.status()).toMatchObject({ phase: "serving", pid: daemon.pid });
      expect((await turn("off")).code).toBe(0);
      expect(hosts() === (after ?? before)).toBe(true);
      expect(daemon.lines().some(({ message }) => message.includes(repaired))).toBe(true);
    },
  );

  test("UTF-16 with a mark is refused with what to do, and left as it is", async () => {
    clear();
    writeFileSync(path, Buffer.from(`\ufeff${local}\n`, "utf16le"));
    const before = hosts();
    const { code, err } = await turn("on");
    expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining("it is UTF-16 text") });
    await turn("off");
    expect(hosts()).toBe(before);
  });
});

/** Of one row: something else than a file of its own in the file's place. */
interface Place {
  readonly name: string;
  readonly put: () => unknown;
  /** In place of success: the reason. */
  readonly error?: string;
  /** Looked at after the name has come and gone. */
  readonly still?: () => boolean;
}

/** Whether this machine's kernel has immutable files in memory. */
const freeze = "touch /run/tmp/frozen && chattr +i /run/tmp/frozen && chattr -i /run/tmp/frozen";
const freezes = onOwnMachine && Bun.spawnSync(["sh", "-c", freeze]).exitCode === 0;
const real = "/run/story/hosts";
const places: readonly Place[] = [
  { name: "a symbolic link", put: () => symlinkSync(real, path), still: () => isLink() },
  {
    name: "a chain of links, one of them relative",
    put: () => {
      rmSync("/etc/hosts.2", { force: true });
      symlinkSync(real, "/etc/hosts.2");
      symlinkSync("hosts.2", path);
    },
    still: () => isLink(),
  },
  {
    name: "a file of the mode 0444",
    put: () => {
      writeFileSync(path, local);
      chmodSync(path, 0o444);
    },
    still: () => (statSync(path).mode & 0o777) === 0o444,
  },
  {
    name: "a file of the mode 0",
    put: () => {
      writeFileSync(path, local);
      chmodSync(path, 0);
    },
    still: () => (statSync(path).mode & 0o777) === 0,
  },
  {
    name: "a file of a user",
    put: () => {
      writeFileSync(path, local);
      Bun.spawnSync(["chown", "1000:1000", path]);
    },
    still: () => statSync(path).uid === 1000,
  },
  { name: "nothing", put: () => undefined },
  { name: "a folder", put: () => mkdirSync(path), error: "it is not a regular file" },
  {
    name: "a pipe",
    put: () => Bun.spawnSync(["mkfifo", path]),
    error: "it is not a regular file",
    still: () => lstatSync(path).isFIFO(),
  },
  {
    name: "a device",
    put: () => symlinkSync("/dev/null", path),
    error: "it is not a regular file",
    still: () => statSync("/dev/null").isCharacterDevice(),
  },
  {
    name: "a link that leads nowhere",
    put: () => symlinkSync("/nowhere", path),
    error: "it is a symbolic link to a file that does not exist",
  },
  {
    name: "a link to itself",
    put: () => symlinkSync("hosts", path),
    error: "too many symbolic links",
  },
  {
    name: "a file of 70 MB",
    put: () => Bun.spawnSync(["truncate", "-s", "70M", path]),
    error: "it is 73400320 bytes long",
  },
  ...(freezes
    ? [
        {
          name: "an immutable file",
          put: () => {
            writeFileSync(path, local);
            Bun.spawnSync(["chattr", "+i", path]);
            atEnd(() => run(["chattr", "-i", path]));
          },
          error: "not permitted",
          still: () => hosts() === local && Bun.spawnSync(["chattr", "-i", path]).exitCode === 0,
        },
      ]
    : []),
];

const isLink = (): boolean => lstatSync(path).isSymbolicLink();

stories("in the place of the hosts file", () => {
  beforeAll(beginAll);

  test.each(places)("$name: is written or refused, and stays what it is", async (place) => {
    clear();
    mkdirSync("/run/story", { recursive: true });
    writeFileSync(real, local);
    place.put();
    const { code, err } = await turn("on");
    const { phase, hint } = await daemon.status();
    if (place.error === undefined) {
      expect({ code, phase }).toEqual({ code: 0, phase: "serving" });
      expect(await resolve("hello.demo")).toBe("127.0.0.2");
    } else {
      expect({ code, phase, hint }).toEqual({
        code: 1,
        phase: "degraded",
        hint: expect.stringMatching(/./),
      });
      expect(err).toContain(`": ${place.error}\nhint:  `);
      // The address works without its name.
      expect((await run(["curl", "-sS", "http://127.0.0.2/"])).out).toBe("hello");
    }
    await turn("off");
    expect(place.still?.() ?? true).toBe(true);
    if (place.error === undefined)
      expect(hosts().trim()).toBe(place.name === "nothing" ? "" : local);
  });
});
