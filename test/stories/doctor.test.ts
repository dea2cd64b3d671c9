import { beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { Finding } from "../../src/doctor/finding.ts";
import type { Way } from "../../src/doctor/why.ts";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import {
  binary,
  type Daemon,
  defaultConfig,
  examine,
  missedDeadline,
  ngrokd,
  type RunOptions,
  run,
  serve,
  writeConfig,
} from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { dial, echo, upstream } from "../support/tcp.ts";
import { page } from "../support/web.ts";

interface Report {
  readonly code: number;
  readonly worst: string;
  readonly findings: readonly Finding[];
  /** The findings of one check, as `level: text → fix`. */
  readonly of: (check: string) => string[];
  /** The findings of all checks that are not ok. */
  readonly bad: () => string[];
}

const told = ({ check, level, text, fix }: Finding): string =>
  `${check} ${level}: ${text}${fix === "" ? "" : ` → ${fix}`}`;

/** `isLate`: a step of it has to miss its deadline. */
type Options = RunOptions & { readonly isLate?: boolean };

async function doctor(words = "", { isLate = false, ...options }: Options = {}): Promise<Report> {
  const ask = isLate ? ngrokd : examine;
  const { code, out, json } = await ask(`doctor --json ${words}`, options);
  if (process.env.SHOW) console.log((await ngrokd(`doctor ${words}`, options)).out, code);
  expect(out).not.toContain("local-cloud-key");
  expect(out).not.toContain("PRIVATE KEY");
  const findings: Finding[] = json.findings;
  return {
    code,
    worst: json.worst,
    findings,
    of: (check) => findings.filter((finding) => finding.check === check).map(told),
    bad: () => findings.filter(({ level }) => level !== "ok").map(told),
  };
}

async function why(
  words: string,
  { isLate = false, ...options }: Options = {},
): Promise<{ code: number; out: string; ways: (Way & { breaks_at: string })[] }> {
  const ask = isLate ? ngrokd : examine;
  const { code, json } = await ask(`why --json ${words}`, options);
  const { out } = await ask(`why ${words}`, options);
  if (process.env.SHOW) console.log(out, code);
  return { code, out, ways: json.ways };
}

/** A report without a missed deadline, which a busy machine can have. */
const healthy = (): Promise<Report> =>
  until("doctor finds no fault", async () => {
    const report = await doctor();
    expect(report.bad()).toEqual([]);
    return report;
  });

/** All files that the commands might change. */
const traces = (): string =>
  ["/etc/hosts", ...readdirSync("/etc/ngrokd").map((name) => `/etc/ngrokd/${name}`)]
    .map(
      (path) =>
        `${path} ${statSync(path).mtimeMs} ${statSync(path).mode} ${readFileSync(path, "latin1")}`,
    )
    .join("\n");

const hosts = (): string => readFileSync("/etc/hosts", "latin1");

/**
 * Replaces the file at once, since the daemon could read half of it at any
 * moment.
 */
function replaceHosts(text: string): void {
  writeFileSync("/etc/hosts.new", text);
  renameSync("/etc/hosts.new", "/etc/hosts");
}

let cloud: Cloud;
let daemon: Daemon;

const begin = async () => {
  // Both endpoints are there at the first poll, so that their addresses follow
  // the order of their names.
  cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello").address);
  await cloud.add("tcp://db.demo:5432", page("db").address);
  writeConfig(configFor(cloud));
  daemon = await serve();
  await daemon.becomes("hello.demo", "listening");
  await daemon.becomes("db.demo", "listening");
  await daemon.refresh();
};

stories("doctor and why if all is well", () => {
  beforeAll(begin);

  test("doctor finds no fault, describes each check, and exits with 0", async () => {
    const { code, worst, of } = await healthy();
    expect({ code, worst }).toEqual({ code: 0, worst: "ok" });
    expect(of("ingress")[0]).toContain('certificate issued by "');
    expect(of("endpoints")[0]).toContain("2 of 2 opened through ngrok");
    expect(of("names")).toEqual(["names ok: 2 of 2 resolve to their addresses"]);
    expect(of("listeners")).toEqual(["listeners ok: 2 of 2 listen"]);
    expect(of("client-certificate")).toEqual(["client-certificate ok: the ingress accepts it"]);
    expect(of("clock")).toEqual(["clock ok: right"]);
  });

  test("its text fits into 80 columns and has no colour in a pipe", async () => {
    const { out } = await examine("doctor");
    const long = out
      .split("\n")
      .filter((line) => line.length > 80 && /\s\S+\s/.test(line.slice(26)));
    expect(long).toEqual([]);
    expect(out).not.toContain("\u001b");
    expect(out.trimEnd().split("\n").at(-1)).toBe("Everything is well.");
  });

  test("--all shows each name and endpoint", async () => {
    const { of } = await doctor("--all");
    expect(of("names").sort()).toEqual([
      'names ok: "db.demo" leads to 127.0.0.2',
      'names ok: "hello.demo" leads to 127.0.0.3',
    ]);
    expect(of("endpoints")).toHaveLength(2);
    expect(of("listeners").join()).toContain("http://hello.demo listens on 127.0.0.");
  });

  test("under Deno it finds the same", async () => {
    const root = join(import.meta.dirname, "../..");
    const words = [
      join(root, "node_modules/.bin/deno"),
      "run",
      "-A",
      join(root, "src/main.ts"),
      "doctor",
      "--json",
    ];
    const findings = await until("it finds no fault", async () => {
      const { code, json, err } = await run(words);
      expect({
        code,
        err,
        bad: json.findings.filter(({ level }: Finding) => level !== "ok"),
      }).toEqual({ code: 0, err: "", bad: [] });
      return json.findings;
    });
    expect(findings).toHaveLength((await healthy()).findings.length);
  });

  test("neither changes anything, and neither counts as a connection", async () => {
    const before = traces();
    const { total } = (await daemon.status()).connections;
    await doctor("--all");
    await why("hello.demo");
    expect(traces()).toBe(before);
    expect((await daemon.status()).connections.total).toBe(total);
  });

  test.each(["hello.demo", "HELLO.demo.", "http://hello.demo/path?x=1", "hello.demo:80"])(
    "why %s follows it to the end",
    async (asked) => {
      const { code, out, ways } = await why(asked);
      expect(ways.map(({ subject, breaks_at }) => ({ subject, breaks_at }))).toEqual([
        { subject: "hello.demo:80", breaks_at: "" },
      ]);
      expect(ways[0]?.steps.map(({ check, level }) => `${check} ${level}`)).toEqual([
        "daemon ok",
        "endpoint ok",
        "name ok",
        "listener ok",
        "ingress ok",
        "upgrade ok",
      ]);
      expect(code).toBe(0);
      expect(out).toContain("hello.demo:80 works, from its name to the service behind ngrok.");
    },
  );

  test("why takes an address of ours, too", async () => {
    const { ip } = await daemon.becomes("db.demo", "listening");
    expect((await why(ip)).ways[0]?.subject).toBe("db.demo:5432");
  });

  test("why of an address says that the Host is the address; the name reaches the page", async () => {
    const { ip } = await daemon.becomes("hello.demo", "listening");
    const { code, ways } = await why(`http://${ip}/`);
    expect(code).toBe(0);
    const names = ways[0]?.steps.filter(({ check }) => check === "name") ?? [];
    expect(names.map(told)).toEqual([
      `name ok: "hello.demo" leads to ${ip}`,
      `name warning: a request to ${ip} has the address as its Host, and not "hello.demo" → use the name; if that is impossible, \`curl --resolve hello.demo:80:${ip} http://hello.demo/\``,
    ]);
    const hosts: (string | null)[] = [];
    const shop = await upstream((socket) =>
      socket.once("data", (bytes) => {
        hosts.push(/^host: (.*)$/im.exec(String(bytes))?.[1]?.trim() ?? null);
        socket.end("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
      }),
    );
    await cloud.add("http://shop.demo:8080", shop.address);
    const at = (await daemon.becomes("shop.demo", "listening")).ip;
    await fetch(`http://${at}:8080/`);
    await fetch("http://shop.demo:8080/");
    expect(hosts).toEqual([`${at}:8080`, "shop.demo:8080"]);
  });

  test("a named configuration that cannot be read: no other daemon is judged", async () => {
    const missing = 'Cannot read the configuration "/no/such.yml": there is no such file';
    const why = await ngrokd("why hello.demo --config /no/such.yml");
    expect({ code: why.code, out: why.out, err: why.err }).toEqual({
      code: 2,
      out: "",
      err: expect.stringContaining(missing),
    });
    const { code, json } = await ngrokd("doctor --json --config /no/such.yml");
    const about = json.findings.find(({ check }: { check: string }) => check === "daemon");
    expect({ code, level: about.level, text: JSON.stringify(about) }).toEqual({
      code: 1,
      level: "failure",
      text: expect.stringContaining("/no/such.yml"),
    });
  });

  test("an unknown name, another port or no name at all: explained, with the likely one", async () => {
    const unknown = await why("helo.demo");
    expect(unknown.code).toBe(1);
    expect(unknown.ways[0]?.breaks_at).toBe("endpoint");
    expect(unknown.ways[0]?.steps.at(-1)?.fix).toBe('did you mean "hello.demo"?');
    expect((await why("hello.demo:81")).ways[0]?.steps.at(-1)?.text).toBe(
      '"hello.demo" is served on port 80, and not on 81',
    );
    expect((await why("other.example")).ways[0]?.steps.at(-1)?.fix).toContain(
      "the binding `kubernetes`",
    );
    expect((await ngrokd("why no_t..a")).code).toBe(2);
    expect((await ngrokd("why")).code).toBe(2);
  });
});

stories("doctor about ngrok and its ingress", () => {
  beforeAll(begin);

  test("an upgrade that ngrok refuses: the code, and its meaning", async () => {
    await cloud.break("refuse=ERR_NGROK_3200 it is offline");
    const { code, of } = await doctor();
    expect(code).toBe(1);
    expect(of("endpoints").join("\n")).toContain(
      'db.demo:5432: ngrok refuses it with "it is offline" (ERR_NGROK_3200) → the endpoint is offline',
    );
    expect(of("client-certificate")).toEqual(["client-certificate ok: the ingress accepts it"]);
    const { ways, out } = await why("hello.demo");
    expect(ways[0]?.breaks_at).toBe("upgrade");
    expect(out).toContain('hello.demo:80 does not work: it fails at "Connection".');
    await cloud.mend();
  });

  test("the notices of a refusal are in why, in the list and in one line of the log", async () => {
    await cloud.break("refuse=ERR_NGROK_1 no");
    await cloud.break("notice=your plan ends soon");
    const { ways } = await why("hello.demo");
    expect(ways[0]?.steps.at(-1)?.text).toBe(
      'hello.demo:80: ngrok refuses it with "no" (ERR_NGROK_1); ngrok says: your plan ends soon',
    );
    await expect(fetch("http://hello.demo/")).rejects.toThrow();
    const said = "ERR_NGROK_1: no; ngrok says: your plan ends soon";
    expect((await daemon.endpoint("hello.demo"))?.connections.last_error).toBe(said);
    const inLog = () => daemon.log().split(`the ingress refused: ${said}"`);
    await until("the log has it", () => inLog().length > 1);
    expect(inLog()).toHaveLength(2);
    await cloud.mend();
    expect(await (await fetch("http://hello.demo/")).text()).toContain("hello");
  });

  test("an ingress that does not know our certificate", async () => {
    await cloud.break("header-close");
    const { of } = await doctor();
    expect(of("client-certificate")[0]).toContain(
      "client-certificate failure: The ingress closed the connection without an answer",
    );
    expect(of("endpoints")).toEqual([
      "endpoints warning: not checked, since the ingress does not accept our certificate",
    ]);
    await cloud.mend();
  });

  test("an ingress that accepts and never speaks TLS is given up at a deadline", async () => {
    await cloud.break("tls-stall");
    const { of } = await doctor("", { isLate: true });
    expect(of("ingress")[0]).toMatch(/^ingress failure: .* within \d s/);
    await cloud.mend();
  });

  test("a clock that is ten minutes behind ngrok's", async () => {
    await cloud.break("date=600");
    // Late answers make the difference smaller.
    const { code } = await until("the clock is compared", async () => {
      const report = await doctor();
      expect(report.of("clock")).toEqual([
        "clock failure: this machine's clock is 10 minutes behind ngrok's → set it, for example with `timedatectl set-ntp true`; certificates depend on it",
      ]);
      return report;
    });
    expect(code).toBe(1);
    await cloud.mend();
    await cloud.break("date=60");
    // The header counts in whole seconds.
    await until("the clock is compared again", async () =>
      /^clock warning: this machine's clock is 6[01] s behind/.test(
        (await doctor()).of("clock")[0] ?? "",
      ),
    );
    await cloud.mend();
  });
});

stories("doctor about the machine", () => {
  beforeAll(begin);

  test("a line of the user's own that gives the name another address", async () => {
    const before = hosts();
    // The daemon's next pass would give up the name, so that pass has to wait
    // for ngrok. `next_poll` is empty while a pass runs.
    await cloud.break("latency=25000");
    await until("a pass waits", async () => (await daemon.status()).next_poll === "");
    await until("no other pass ends", async () => {
      await Bun.sleep(1000);
      return (await daemon.status()).next_poll === "";
    });
    // A loopback address, since a machine without a route sorts others behind
    // ours.
    replaceHosts(`127.0.0.1 hello.demo # mine\n${before}`);
    const [{ of }, { ways }] = await Promise.all([
      doctor("", { isLate: true }),
      why("hello.demo", { isLate: true }),
    ]);
    expect(of("names").join("\n")).toContain(
      'remove line 1 (127.0.0.1) from "/etc/hosts", or keep it if it is intended',
    );
    expect(of("names")[0]).toBe("names ok: 1 of 2 resolve to their addresses");
    expect(ways[0]?.steps.find(({ check }) => check === "name")?.fix).toContain("line 1");
    replaceHosts(before);
    await cloud.mend();
    await ngrokd("refresh");
    await daemon.becomes("hello.demo", "listening");
  });

  test("a resolver that does not look into the hosts file", async () => {
    const before = readFileSync("/etc/nsswitch.conf", "utf8");
    writeFileSync("/etc/nsswitch.conf", before.replace(/^hosts:.*$/m, "hosts: dns"));
    const { ways, code } = await why("hello.demo");
    const name = ways[0]?.steps.find(({ check }) => check === "name");
    expect(name?.text).toBe('"hello.demo" does not resolve, although "/etc/hosts" says so');
    expect(name?.fix).toBe('"hosts: dns" in /etc/nsswitch.conf lacks "files": put it first');
    expect(ways[0]?.breaks_at).toBe("name");
    expect(code).toBe(1);
    writeFileSync("/etc/nsswitch.conf", before);
  });

  test("another program on the address: which one it is", async () => {
    const server = createServer();
    atEnd(() => server.close());
    await cloud.add("tcp://taken.demo:6000", page("x").address);
    const taken = await daemon.becomes("taken.demo", "listening");
    await daemon.stop();
    await new Promise<void>((listening) => server.listen(6000, taken.ip, listening));
    daemon = await serve();
    await daemon.becomes("taken.demo", "failed");
    const { of, code } = await doctor();
    expect(of("listeners").find((text) => text.includes("failure"))).toMatch(
      /tcp:\/\/taken\.demo:6000: .*; it is bun\S* \(pid \d+\) → stop that program/,
    );
    expect(code).toBe(1);
    const { ways } = await why("taken.demo");
    expect(ways[0]?.breaks_at).toBe("listener");
    server.close();
    await daemon.becomes("taken.demo", "listening");
  });

  test("the limit of open files is the daemon's, not that of the command", async () => {
    const { files } = await daemon.status();
    expect(files.limit).toBeGreaterThan(300);
    // The socket's group may ask the daemon, but not look into its process.
    const member = "setpriv --reuid=65534 --regid=0 --clear-groups".split(" ");
    const asked = [..."prlimit --nofile=300:300".split(" "), ...member, binary()];
    const { json } = await run([...asked, "doctor", "--json"]);
    const found = json.findings.filter(({ check }: Finding) => check === "files").map(told);
    expect(found[0]).toContain(`files ok: at most ${files.limit} files may be open`);
  });

  test("as another user, names the checks that need root, and does all others", async () => {
    const { code, of, worst } = await doctor("", { as: "nobody" });
    expect(of("privileges")[0]).toContain("→ run this command with sudo");
    expect(of("configuration")[0]).toContain("configuration warning: not checked:");
    expect(of("daemon")[0]).toContain('join the group "ngrokd"');
    expect(of("names")).toEqual(["names ok: 3 of 3 resolve to their addresses"]);
    expect({ code, worst }).toEqual({ code: 0, worst: "warning" });
    const { out, code: whyCode } = await why("hello.demo", { as: "nobody" });
    expect(out).toContain("no check has failed");
    expect(whyCode).toBe(0);
  });

  test("files that others may write: each, with the command that ends it", async () => {
    chmodSync(defaultConfig, 0o666);
    chmodSync("/etc/ngrokd/operator_id", 0o622);
    chownSync("/etc/hosts", 65534, 65534);
    const { of, code } = await doctor();
    expect(of("writers")).toEqual([
      `writers failure: Other users can change the configuration "${defaultConfig}": every user may write the file "${defaultConfig}" (mode 666) → run \`sudo chmod go-w ${defaultConfig}\``,
      'writers failure: Other users can change the state "/etc/ngrokd/operator_id": every user may write the file "/etc/ngrokd/operator_id" (mode 622) → run `sudo chmod go-w /etc/ngrokd/operator_id`',
      'writers warning: Other users can change the hosts file "/etc/hosts": the file "/etc/hosts" belongs to another user (uid 65534) → run `sudo chown root /etc/hosts`',
    ]);
    expect(code).toBe(1);
    expect(await daemon.stop()).toBe(0);
    daemon = await serve();
    const warned = await until("the log has all", () => {
      const lines = daemon.lines().filter(({ message }) => message.startsWith("Other users can"));
      return lines.length >= 3 && lines;
    });
    expect(warned.map(({ level, hint }) => `${level} ${hint}`)).toEqual([
      `warn run \`sudo chmod go-w ${defaultConfig}\``,
      "warn run `sudo chmod go-w /etc/ngrokd/operator_id`",
      "warn run `sudo chown root /etc/hosts`",
    ]);
    await until("it serves", async () => (await daemon.status()).phase === "serving");
    chmodSync(defaultConfig, 0o600);
    chmodSync("/etc/ngrokd/operator_id", 0o600);
    chownSync("/etc/hosts", 0, 0);
    expect((await doctor()).of("writers")).toEqual([
      "writers ok: nobody else may change configuration, state, CAs and hosts file",
    ]);
  });

  test("state files that others can read, and leftovers of a crash", async () => {
    chmodSync("/etc/ngrokd/tls.key", 0o644);
    const old = new Date(Date.now() - 3_600_000);
    writeFileSync("/etc/ngrokd/.0123456789ab.ngrokd.tmp", "");
    // Another user's file, since the daemon may have started ten seconds ago
    // and removes its own.
    chownSync("/etc/ngrokd/.0123456789ab.ngrokd.tmp", 65534, 65534);
    utimesSync("/etc/ngrokd/.0123456789ab.ngrokd.tmp", old, old);
    const { of, code } = await doctor();
    expect(of("state")).toEqual([
      'state failure: other users may use the private key "/etc/ngrokd/tls.key" (its mode is 0644) → run `chmod 600 /etc/ngrokd/tls.key`',
    ]);
    expect(of("leftovers")[0]).toContain("/etc/ngrokd/.0123456789ab.ngrokd.tmp");
    expect(code).toBe(1);
    chmodSync("/etc/ngrokd/tls.key", 0o600);
    rmSync("/etc/ngrokd/.0123456789ab.ngrokd.tmp");
  });
});

stories("doctor about the daemon", () => {
  beforeAll(begin);

  test("a wrong configuration: each problem with its line; the daemon is checked too", async () => {
    const before = readFileSync(defaultConfig, "utf8");
    writeFileSync(
      defaultConfig,
      "server:\n  log_level: loud\nbound_endpoints:\n  poll_interval: never\n",
    );
    const { of, code } = await doctor();
    expect(of("configuration").map((text) => text.replace(/ is .*/, ""))).toEqual([
      `configuration failure: ${defaultConfig}:2:14: server.log_level`,
      `configuration failure: ${defaultConfig}:4:18: bound_endpoints.poll_interval`,
    ]);
    expect(of("daemon")[0]).toContain("is serving");
    expect(of("names")[0]).toContain("2 of 2");
    expect(code).toBe(1);
    writeFileSync(defaultConfig, before);
  });

  test("a daemon that hangs is reported, and the endpoints are those that ngrok lists", async () => {
    daemon.kill("SIGSTOP");
    const { of } = await doctor("", { isLate: true });
    daemon.kill("SIGCONT");
    expect(of("daemon")[0]).toContain("daemon failure: ");
    expect(of("daemon")[0]).toContain("within 4 s → see its log");
    expect(of("endpoints")[0]).toMatch(/^endpoints ok: (\d) of \1 opened through ngrok/);
    expect(of("names")[0]).toMatch(/^names ok: (\d) of \1 resolve/);
  });

  test("an operator that was deleted, and a key that is refused", async () => {
    const [operator] = await cloud.operators();
    await cloud.break("401");
    const refused = await doctor();
    expect(refused.of("api")[0]).toContain("api ok:");
    expect(refused.of("key")[0]).toContain("key failure:");
    expect(refused.of("key")[0]).toContain("ngrokd set-api-key");
    // After two refusals the daemon waits for minutes, so it does not register
    // again meanwhile.
    await until(
      "the daemon was refused twice",
      async () => (await daemon.status()).failed_polls >= 2,
    );
    await cloud.mend();
    await cloud.break("header-close"); // What ngrok's ingress does then.
    await cloud.api("DELETE", `/kubernetes_operators/${operator?.id}`);
    const { of } = await doctor();
    expect(of("operator")[0]).toContain(`operator failure: ngrok does not know ${operator?.id}`);
    await cloud.mend();
  });

  test("a daemon that was killed: the names that it left lead nowhere", async () => {
    await until("the names are written", () => hosts().includes("hello.demo"));
    await daemon.stop("SIGKILL");
    const { code, of } = await doctor();
    expect(of("daemon")[0]).toContain("daemon failure: No daemon answers on the control socket");
    expect(of("leftovers")[0]).toContain("names that lead nowhere");
    expect(code).toBe(1);
    const { ways } = await why("hello.demo");
    expect(ways[0]?.breaks_at).toBe("daemon");
  });
});

stories("doctor with hundreds of endpoints", () => {
  /**
   * Parses the summary line. A slow machine does not reach all endpoints in
   * five seconds.
   */
  const counted = ([line = ""]: string[]): { bad: number; all: number } => {
    const untriedToo = "(?:; (\\d+) more were not tried for lack of time \\(--all tries each\\))?";
    const pattern = new RegExp(
      `^endpoints ok: (\\d+) of (\\d+) opened through ngrok, typically within \\d+ ms${untriedToo}$`,
    );
    const [, well, tried, untried = "0"] = pattern.exec(line) ?? [];
    return { bad: Number(tried) - Number(well), all: Number(tried) + Number(untried) };
  };

  test("shows the good ones in one line and the bad ones in ten; --all shows each", async () => {
    const { cloud, daemon } = await registered();
    const { address } = page("one of many");
    const names = Array.from({ length: 300 }, (_, i) => `n${i}.demo`);
    for (const name of names) await cloud.add(`http://${name}`, address);
    await daemon.becomes("n299.demo", "listening");
    const { of } = await doctor();
    expect(of("endpoints")).toHaveLength(1);
    expect(counted(of("endpoints"))).toEqual({ bad: 0, all: 300 });
    // The pool's ready connections send no request, so all 25 refusals are
    // those of one run.
    const bad = await until("no step has missed its deadline", async () => {
      await cloud.mend();
      await cloud.break("refuse=ERR_NGROK_8012 gone*25");
      const report = await doctor("", { isLate: true });
      return !missedDeadline(report.bad().join("\n")) && report;
    });
    expect(counted(bad.of("endpoints"))).toEqual({ bad: 25, all: 300 });
    expect(bad.of("endpoints")).toHaveLength(12);
    expect(bad.of("endpoints").at(-1)).toBe(
      "endpoints failure: and 15 more → add --all to see each",
    );
    expect((await doctor("--all")).of("endpoints")).toHaveLength(300);
    expect((await daemon.status()).connections.total).toBe(0);
  });
});

stories("doctor and why on a machine without", () => {
  test("anything at all: no daemon, no file, no key", async () => {
    const { code, of } = await doctor();
    expect(code).toBe(1);
    expect(of("configuration")).toEqual([
      'configuration ok: there is no "/etc/ngrokd/config.yml": every setting has its default',
    ]);
    expect(of("key")).toEqual(["key failure: there is none → run `sudo ngrokd set-api-key`"]);
    expect(of("state")[0]).toContain("this machine is not registered yet");
    expect((await why("hello.demo")).code).toBe(1);
  });

  test("a poll since the endpoint was made: it is to be asked for", async () => {
    freshMachine();
    const { cloud, daemon } = await registered({
      config: { bound_endpoints: { poll_interval: 3600 } },
    });
    await cloud.add("http://new.demo", page("new").address);
    const { ways } = await why("new.demo");
    expect(ways[0]?.steps.at(-1)).toMatchObject({
      text: "ngrok lists it, and the daemon has not seen it yet",
      fix: "run `ngrokd refresh`",
    });
    await daemon.refresh();
    expect((await why("new.demo")).code).toBe(0);
    await daemon.stop();
    const dead = await why("new.demo");
    expect(dead.ways[0]?.steps.map(({ check, level }) => `${check} ${level}`)).toEqual([
      "daemon failure",
      "endpoint ok",
      "name warning",
      "ingress ok",
      "upgrade ok",
    ]);
  });

  test("an endpoint that cannot be served, and one that goes while a connection is open", async () => {
    freshMachine();
    const { cloud, daemon } = await registered({
      config: { bound_endpoints: { poll_interval: 3600 } },
    });
    await cloud.add("http://app.localhost", page("app").address, { unchecked: true });
    const id = await cloud.add("tcp://long.demo:7005", (await echo()).address);
    await daemon.refresh();
    const { code, ways, out } = await why("app.localhost");
    expect({ code, breaks_at: ways[0]?.breaks_at }).toEqual({ code: 1, breaks_at: "listener" });
    expect(ways[0]?.steps.at(-1)?.text).toStartWith("it cannot be served: ");
    expect(out).toContain('http://app.localhost does not work: it fails at "Listener".');
    const client = await dial("long.demo", 7005);
    await client.write("here");
    expect(await client.read(4)).toBe("here");
    // ngrok's list of bound endpoints still has it. Neither the daemon nor
    // `why` may take it for a live one.
    await cloud.remove(id, "lingers");
    await daemon.refresh();
    await daemon.becomes("long.demo", "draining");
    for (const words of ["long.demo", "tcp://long.demo:7005"]) {
      expect((await why(words)).ways[0]?.steps.at(-1)?.text).toBe(
        "long.demo:7005 is gone from ngrok's list, and its last connections are ending",
      );
    }
    const { findings } = await doctor();
    const listeners = findings.filter(({ check }) => check === "listeners");
    expect(listeners.map(({ level, about }) => ({ level, about }))).toEqual([
      { level: "warning", about: "http://app.localhost" },
    ]);
    client.reset();
    await daemon.stop();
    const dead = await why("long.demo");
    expect(dead.ways[0]?.steps.find(({ check }) => check === "endpoint")?.text).toStartWith(
      "no endpoint that is bound to this machine",
    );
    await cloud.add("udp://odd.demo:53", page("odd").address, { unchecked: true });
    expect(
      (await why("odd.demo")).ways[0]?.steps.find(({ check }) => check === "endpoint")?.text,
    ).toStartWith("ngrok lists it as udp://odd.demo:53, and it cannot be served: ");
    await cloud.stop();
  });

  test("a CA for the ingress's certificate: names the issuer", async () => {
    freshMachine();
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud, { server: { ingress_ca: "" } }));
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    const { code, of } = await doctor();
    expect(code).toBe(1);
    expect(of("ingress")[0]).toContain("issued by");
    expect(of("ingress")[0]).toContain("this CA is not ngrok's");
    expect(of("endpoints")).toEqual([
      "endpoints warning: not checked, since the ingress cannot be reached",
    ]);
    expect((await why("hello.demo")).ways[0]?.breaks_at).toBe("ingress");
    await daemon.stop();
  });

  test("an API that replies: a black hole costs seconds, and the rest is still checked", async () => {
    freshMachine();
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const hole = createServer();
    atEnd(() => hole.close());
    await new Promise<void>((listening) => hole.listen(0, "127.0.0.1", listening));
    const address = hole.address();
    const port = typeof address === "object" ? address?.port : 0;
    mkdirSync("/run/story", { recursive: true });
    writeConfig(
      configFor(cloud, { api: { url: `http://127.0.0.1:${port}` } }),
      "/etc/ngrokd/hole.yml",
    );
    const { code, of } = await doctor("--config /etc/ngrokd/hole.yml", { isLate: true });
    expect(of("api")[0]).toMatch(
      /^api failure: Cannot check the API key: "http:\/\/127.0.0.1:\d+" did not answer within 4 s/,
    );
    expect(of("clock")[0]).toContain("not checked");
    expect(of("endpoints")[0]).toContain("1 of 1 opened through ngrok");
    expect(code).toBe(1);
    await daemon.stop();
  });
});
