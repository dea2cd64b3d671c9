import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { findingsText } from "../../src/cli/findings-text.ts";
import type { Attempt } from "../../src/doctor/attempt.ts";
import { environmentIn, lookAtProcess } from "../../src/doctor/daemon-process.ts";
import { type Finding, ok, warning } from "../../src/doctor/finding.ts";
import {
  forgetOnMac,
  type HostsFacts,
  hostsLines,
  judgeName,
  lookAtHosts,
  resolved,
} from "../../src/doctor/name-findings.ts";
import { parseQuestion } from "../../src/doctor/question.ts";
import { socketsAt } from "../../src/doctor/sockets.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { listeningSockets, parseSocketTable } from "../../src/net/proc-net.ts";
import { holdersOf } from "../../src/net/socket-holders.ts";
import { marked, plain } from "../cli/support.ts";

const done = <T>(value: T): Attempt<T> => ({ ok: true, value, tookMs: 1 });
const failed = { ok: false as const, error: new NgrokdError("network", "no"), tookMs: 1 };

const section = "# BEGIN ngrokd managed section\n127.0.0.2\ta.demo\n# END ngrokd managed section\n";

describe("hostsLines", () => {
  test("distinguishes our lines from others, in any case, without comments", () => {
    const found = hostsLines(
      `127.0.0.1 localhost # x\n${section}10.0.0.1 b A.Demo c\r\nnonsense a.demo\n# 10.0.0.2 a.demo\n`,
    );
    expect(found.get("a.demo")).toEqual([
      { line: 3, address: "127.0.0.2", ours: true },
      { line: 5, address: "10.0.0.1", ours: false },
    ]);
    expect(found.get("c")).toHaveLength(1);
    expect([...found.keys()]).toEqual(["localhost", "a.demo", "b", "c"]);
  });
  test("takes any text", () => {
    fc.assert(fc.property(fc.string(), (text) => hostsLines(text) instanceof Map));
  });
});

describe("judgeName", () => {
  const hosts = (
    text: string,
    order: string | undefined = "files dns",
    path = "/etc/hosts",
  ): Attempt<HostsFacts> => done({ path, names: hostsLines(text), order });
  const judged = (
    addresses: string[] | undefined,
    facts: Attempt<HostsFacts>,
    error: unknown = failed.error,
  ): string => {
    const { level, text, fix } = judgeName("name", {
      name: "a.demo",
      ip: "127.0.0.2",
      resolved: addresses === undefined ? { ...failed, error } : done(addresses),
      hosts: facts,
    });
    return `${level}: ${text}${fix === "" ? "" : ` → ${fix}`}`;
  };

  test("is content with the right address alone", () => {
    expect(judged(["127.0.0.2"], hosts(section))).toBe('ok: "a.demo" leads to 127.0.0.2');
  });
  test("names the line of the user's own that is in the way", () => {
    const text = `10.0.0.1 a.demo\n${section}`;
    expect(judged(["10.0.0.1", "127.0.0.2"], hosts(text))).toBe(
      'failure: "a.demo" leads to 10.0.0.1, 127.0.0.2 and not to 127.0.0.2 → remove line 1 (10.0.0.1) from "/etc/hosts", or keep it if it is intended',
    );
    expect(judged(["127.0.0.2", "10.0.0.1"], hosts(text))).toStartWith(
      'warning: "a.demo" leads to 127.0.0.2, and to 10.0.0.1 for some programs',
    );
  });
  test("sees that our line is missing", () => {
    expect(judged(undefined, hosts(""))).toStartWith(
      'failure: "a.demo" does not resolve, and "/etc/hosts" does not name it → `ngrokd refresh`',
    );
    expect(judged(undefined, failed)).toStartWith('failure: "a.demo" does not resolve → ');
  });
  test("says that the resolver does not answer, and blames nothing else", () => {
    const late = new NgrokdError("timeout", 'Cannot look up "a.demo": no answer within 3 s');
    expect(judged(undefined, hosts(section), late)).toBe(
      'failure: Cannot look up "a.demo": no answer within 3 s → try again; if this stays, `getent ahosts NAME` shows how long this machine\'s resolver takes',
    );
  });
  test("takes a hosts file that the resolver does not read for a choice, and no fault", () => {
    const own = hosts(section, "files", "/tmp/h");
    expect(judged(undefined, own)).toBe(
      'ok: "/tmp/h", which the daemon keeps, gives "a.demo" 127.0.0.2 → this machine\'s resolver reads "/etc/hosts": use the address here',
    );
    expect(judged(["127.0.0.2"], own)).toBe('ok: "a.demo" leads to 127.0.0.2');
  });
  test("still warns if such a name leads elsewhere, or its own file does not have it", () => {
    expect(judged(["9.9.9.9"], hosts(section, "files", "/tmp/h"))).toMatch(
      /^warning: .* and not what NGROKD_HOSTS_PATH names/,
    );
    expect(judged(undefined, hosts("", "files", "/tmp/h"))).toStartWith(
      'failure: "a.demo" does not resolve, and "/tmp/h" does not name it → `ngrokd refresh`',
    );
    expect(judged(undefined, hosts(`10.0.0.1 a.demo\n${section}`, "files", "/tmp/h"))).toStartWith(
      'failure: "a.demo" does not resolve → remove line 1 (10.0.0.1) from "/tmp/h"',
    );
  });
  test("blames the resolver's order if that is the cause", () => {
    expect(judged(undefined, hosts(section, "dns"))).toContain('lacks "files"');
    expect(judged(["9.9.9.9"], hosts(section, "dns [NOTFOUND=return] files"))).toContain(
      'asks others before "files"',
    );
    expect(judged(["9.9.9.9"], hosts(section))).toContain("a cache such as nscd");
    expect(judged(["127.0.0.2", "9.9.9.9"], hosts(section, "mdns files"))).toStartWith("warning:");
  });
  test("names the cache of macOS, which has no such order", () => {
    const names = hostsLines(section);
    const mac = done({ path: "/etc/hosts", names, order: undefined, forget: forgetOnMac });
    expect(judged(["9.9.9.9"], mac)).toBe(
      'failure: "a.demo" leads to 9.9.9.9 and not to 127.0.0.2, although "/etc/hosts" says so → an old answer may be remembered: `sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder`',
    );
  });
});

describe("resolved", () => {
  test("asks this machine's resolver", async () => {
    expect(await resolved("127.0.0.9")).toMatchObject({ ok: true, value: ["127.0.0.9"] });
    expect((await resolved("no..name")).ok).toBe(false);
  });
});

describe("the kernel's list of sockets", () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0200007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4343 1 0000000000000000 20 4 30 10 -1
   2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4444 1 0
`;
  test("is read: addresses, ports, those that listen alone", () => {
    expect(parseSocketTable(table)).toEqual([
      { host: "127.0.0.2", port: 80, inode: "4242" },
      { host: "*", port: 22, inode: "4444" },
    ]);
    expect(parseSocketTable("")).toEqual([]);
    expect(socketsAt(parseSocketTable(table), "127.0.0.9", 22)).toHaveLength(1);
    expect(socketsAt(parseSocketTable(table), "127.0.0.9", 80)).toEqual([]);
  });
  test.skipIf(process.platform !== "linux")(
    "has a listener of ours, and knows that it is ours",
    async () => {
      const server = createServer();
      await new Promise<void>((listening) => server.listen(0, "127.0.0.77", listening));
      const address = server.address();
      const port = address !== null && typeof address === "object" ? address.port : 0;
      const found = socketsAt((await listeningSockets()) ?? [], "127.0.0.77", port);
      expect(found).toHaveLength(1);
      const holders = await holdersOf(new Set(found.map(({ inode }) => inode)));
      expect([...holders.values()]).toEqual([expect.stringContaining(`(pid ${process.pid})`)]);
      server.close();
    },
  );
});

describe("another process", () => {
  test("one that is not there has no facts", async () => {
    expect(await lookAtProcess(2 ** 30)).toEqual({
      uid: undefined,
      openFiles: undefined,
      env: undefined,
    });
  });
  test("its variables are read from Linux's own text", () => {
    expect(environmentIn("A=b\0C=d=e\0nothing\0F=\0")).toEqual({ A: "b", C: "d=e", F: "" });
  });
});

describe("parseQuestion", () => {
  test.each([
    ["hello.demo", "hello.demo", undefined],
    ["Hello.Demo.", "hello.demo", undefined],
    ["hello.demo:8080", "hello.demo", 8080],
    ["http://hello.demo", "hello.demo", 80],
    ["HTTPS://hello.demo/a/b?c#d", "hello.demo", 443],
    ["https://user:secret@hello.demo:8443/x", "hello.demo", 8443],
    ["tcp://db.demo:5432", "db.demo", 5432],
    ["postgres://db.demo/x", "db.demo", undefined],
    [" hello.demo/ ", "hello.demo", undefined],
    ["127.0.0.2:80", "127.0.0.2", 80],
    ["[FD12:0::2]:80", "fd12::2", 80],
    ["http://[fd12::2]/a", "fd12::2", 80],
    ["https://user@[fd12::2]:8443", "fd12::2", 8443],
  ])("%s", (text, host, port) => {
    expect(parseQuestion(text)).toEqual({ ok: true, value: { host, port } });
  });
  test.each([
    "",
    "a b",
    "hello.demo:0",
    "hello.demo:70000",
    "http://",
    "[::1:80",
    "[]:80",
    "[a.demo]",
    "-x-",
  ])("%p is none", (text) => {
    expect(parseQuestion(text).ok).toBe(false);
  });
  test("accepts any text, and returns a name and a port or a reason", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.webUrl()), (text) => {
        const question = parseQuestion(text);
        if (!question.ok) return;
        expect(question.value.host).toMatch(/^[a-z0-9_.-]+$/);
        const { port = 1 } = question.value;
        expect(port >= 1 && port <= 65535).toBe(true);
      }),
    );
  });
});

describe("findingsText", () => {
  test("stands in columns, the advice below", () => {
    const findings: Finding[] = [
      ok("api", "it answered"),
      warning("names", "one two three", "do this"),
    ];
    expect(findingsText(findings, plain, 80)).toBe(
      `
ok       ngrok's API      it answered
warning  Names            one two three
                          → do this`.slice(1),
    );
    expect(findingsText([warning("names", "x", "y")], marked, 80).split("\n")[0]).toStartWith(
      "~warning~  *Names          *  x",
    );
  });
  test("keeps to the width, whatever the words, unless one is longer than a line", () => {
    const word = fc.stringMatching(/^[a-z"`]{1,20}$/);
    const words = fc.array(word, { minLength: 1, maxLength: 40 }).map((list) => list.join(" "));
    fc.assert(
      fc.property(words, words, (text, fix) => {
        const lines = findingsText([warning("client-certificate", text, fix)], plain, 80).split(
          "\n",
        );
        expect(lines.filter((line) => line.length > 80)).toEqual([]);
        const shown = lines.map((line, i) => line.slice(i === 0 ? 26 : 0).trim()).join(" ");
        expect(shown).toBe(`${text} → ${fix}`);
      }),
    );
  });
});

test("a hosts file that is a pipe is told of, and not waited for", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-looks-"));
  try {
    const pipe = join(folder, "hosts");
    expect(Bun.spawnSync(["mkfifo", pipe]).exitCode).toBe(0);
    await expect(lookAtHosts(pipe)).rejects.toMatchObject({
      message: `Cannot read "${pipe}": it is not a regular file`,
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
