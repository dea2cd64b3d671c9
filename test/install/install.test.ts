import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileMarker } from "../../src/machine/resolver/zone-files.ts";
import { onTerminal } from "../support/terminal.ts";
import {
  archiveOf,
  asRoot,
  createMachine,
  hostArchive,
  type Machine,
  outcomeOf,
  pathOf,
  type Release,
  startRelease,
  sumLine,
  tools,
} from "./support.ts";

/**
 * install.sh against a release on loopback. Tests of the program use the
 * archive that `make dist` makes. The others use an archive with a stand-in,
 * since the real one is 100 MB.
 */
const longTest = 120_000;
const standIn =
  '#!/bin/sh\ncase $1 in --version) echo ngrokd 1.0.0 ;; config) : >"$4" ;; *) exit 4 ;; esac\n';
const installer = join(import.meta.dir, "..", "..", "install.sh");
let archive: ReturnType<typeof hostArchive>;
let small: { name: string; bytes: Buffer; sums: string };
let release: Release;
let machine: Machine;

beforeAll(async () => {
  archive = hostArchive();
  const [name, bytes] = [`ngrokd-1.0.0-${archive.target}.tar.gz`, archiveOf({ ngrokd: standIn })];
  small = { name, bytes, sums: sumLine(name, bytes) };
  release = await startRelease();
}, 300_000);
afterAll(() => release.close());
beforeEach(() => {
  machine = createMachine(release.url);
  release.serve({ SHA256SUMS: small.sums, [small.name]: small.bytes });
});
afterEach(() => machine.remove(), longTest);

describe("install.sh", () => {
  test(
    "installs the program and a commented configuration, and names the next steps",
    async () => {
      serveReal();
      const { code, stdout, stderr } = await machine.install();
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(release.asked).toEqual(["SHA256SUMS", archive.name]);
      expect(modeOf(machine.program)).toBe("755");
      expect(versionOf(machine)).toBe(`ngrokd ${archive.version}`);
      expect(modeOf(machine.config)).toBe("600");
      expect(modeOf(machine.configs)).toBe("700");
      expect(readFileSync(machine.config, "utf8")).toContain("# ");
      expect(
        spawnSync(machine.program, ["config", "check", machine.config], { env: machine.env })
          .status,
      ).toBe(0);
      expect(stdout).toContain(`Installed ngrokd ${archive.version} as ${machine.program}`);
      const serves = process.getuid?.() === 0 && !existsSync("/run/systemd/system");
      expect(commandsIn(stdout)).toEqual(["setup", ...(serves ? ["serve"] : [])]);
      expect(readdirSync(machine.temporary)).toEqual([]);
      expect(readdirSync(machine.programs)).toEqual(["ngrokd"]);
    },
    longTest,
  );

  test("installs over an older program and keeps the configuration as it is", async () => {
    mkdirSync(machine.configs, { recursive: true });
    writeFileSync(machine.config, "# mine\napi: {key: secret}\n", { mode: 0o640 });
    writeFileSync(machine.program, "older", { mode: 0o755 });
    const before = statSync(machine.config);
    const older = statSync(machine.program).ino;
    expect((await machine.install()).code).toBe(0);
    expect(readFileSync(machine.config, "utf8")).toBe("# mine\napi: {key: secret}\n");
    expect(statSync(machine.config)).toMatchObject({
      ino: before.ino,
      mode: before.mode,
      mtimeMs: before.mtimeMs,
    });
    // A new file under the name, so a daemon that runs the old one is not
    // disturbed.
    expect(statSync(machine.program).ino).not.toBe(older);
    expect(versionOf(machine)).toBe("ngrokd 1.0.0");
  });

  test.each([
    ["no line end", (line: string) => line.trimEnd()],
    ["CRLF", (line: string) => line.replace("\n", "\r\n")],
    ["an upper-case sum", (line: string) => line.slice(0, 64).toUpperCase() + line.slice(64)],
    ["an empty line first", (line: string) => `\n${line}`],
  ])("reads a SHA256SUMS whose last line has %s", async (_what, change) => {
    release.serve({ SHA256SUMS: change(small.sums), [small.name]: small.bytes });
    const { code, stderr } = await machine.install();
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  });

  test.each([
    ["with a slash at its end", (folder: string) => `/bin:${folder}/:/usr/bin`],
    ["with slashes doubled", (folder: string) => `/bin:/usr/bin:/${folder}//`],
    ["through a link", (_folder: string) => `/bin:/usr/bin:${machine.folder}/link`],
  ])("finds its folder in PATH %s", async (_how, path) => {
    symlinkSync(machine.programs, join(machine.folder, "link"));
    const { code, stdout } = await machine.install([], {
      env: { PATH: `${path(machine.programs)}:${process.env.PATH}` },
    });
    expect(code).toBe(0);
    expect(stdout).not.toContain("PATH");
  });

  test("takes a slash at the end of NGROKD_INSTALL_DIR for none", async () => {
    const { code, stdout } = await machine.install([], {
      env: {
        NGROKD_INSTALL_DIR: `${machine.programs}/`,
        PATH: `${machine.programs}:${process.env.PATH}`,
      },
    });
    expect(code).toBe(0);
    expect(stdout).toContain(`as ${machine.program};`);
    expect(stdout).not.toContain("PATH");
  });

  describe("over the Go program", () => {
    const goProgram = "\x7fELF\xff Go buildinf:\x08";
    const put = (name: string): void =>
      writeFileSync(join(machine.programs, name), goProgram, { mode: 0o755 });

    test("keeps it and its client beside, says so, and works by the client's name", async () => {
      for (const name of ["ngrokd", "ngrokctl"]) put(name);
      const { code, stdout } = await machine.install();
      expect(code).toBe(0);
      for (const name of ["ngrokd", "ngrokctl"]) {
        const kept = join(machine.programs, `${name}.go-program`);
        expect(readFileSync(kept, "latin1")).toBe(Buffer.from(goProgram).toString("latin1"));
        expect(stdout).toContain(`was the Go program of that name, and is kept as ${kept}`);
      }
      expect(readlinkSync(join(machine.programs, "ngrokctl"))).toBe("ngrokd");
      expect(versionOf(machine)).toBe("ngrokd 1.0.0");
      expect((await machine.install()).stdout).not.toContain("Go program");
    });

    test("makes no client if there was none, and keeps another program's", async () => {
      put("ngrokd");
      await machine.install();
      expect(existsSync(join(machine.programs, "ngrokctl"))).toBe(false);
      writeFileSync(join(machine.programs, "ngrokctl"), "#!/bin/sh\n");
      await machine.install();
      expect(readFileSync(join(machine.programs, "ngrokctl"), "utf8")).toBe("#!/bin/sh\n");
    });

    test("removes the client's name with --uninstall, and names the kept files", async () => {
      for (const name of ["ngrokd", "ngrokctl"]) put(name);
      await machine.install();
      const { code, stdout } = await machine.install(["--uninstall"]);
      expect(code).toBe(0);
      expect(readdirSync(machine.programs).sort()).toEqual([
        "ngrokctl.go-program",
        "ngrokd.go-program",
      ]);
      expect(stdout).toContain(`Kept ${machine.program}.go-program`);
    });
  });

  test("names another ngrokd that PATH finds first", async () => {
    const other = machine.fakes({ ngrokd: "exit 0" });
    const { stdout } = await machine.install([], { env: { PATH: other } });
    const [folder] = other.split(":");
    expect(stdout).toContain(`"${folder}/ngrokd" is another program, and comes first in your PATH`);
  });

  test("works when it is piped into sh", async () => {
    await works({ piped: true });
  });

  for (const shell of [["dash"], ["bash", "--posix"], ["busybox", "sh"]] as const) {
    test.skipIf(Bun.which(shell[0]) === null)(`works in ${shell.join(" ")}`, () =>
      works({ shell: [...shell] }),
    );
  }

  test.each(["/", "//"])(
    "knows its folder in PATH with %p at the end",
    async (end) => {
      serveReal();
      const path = `${join(machine.home, ".local/bin")}${end}:${process.env.PATH}`;
      const env = { NGROKD_INSTALL_DIR: "", NGROKD_CONFIG_DIR: "", PATH: path };
      const { code, stdout } = await machine.install([], { env, unprivileged: true });
      expect(code).toBe(0);
      expect(stdout).not.toContain("is not in your PATH");
    },
    longTest,
  );

  test(
    "goes to the home folder without root, and then names a command without sudo",
    async () => {
      serveReal();
      const env = { NGROKD_INSTALL_DIR: "", NGROKD_CONFIG_DIR: "" };
      const { code, stdout, stderr } = await machine.install([], { env, unprivileged: true });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      const program = join(machine.home, ".local/bin/ngrokd");
      const config = join(machine.home, ".config/ngrokd/config.yml");
      expect({ programMode: modeOf(program), configMode: modeOf(config) }).toEqual({
        programMode: "755",
        configMode: "600",
      });
      expect(stdout).toContain(`"${join(machine.home, ".local/bin")}" is not in your PATH`);
      expect(stdout).toContain(`  ${program} setup\n`);
      expect(commandsIn(stdout)).toEqual(["setup"]);
    },
    longTest,
  );
});

describe("install.sh on other machines", () => {
  test("uses wget and shasum if curl and sha256sum are missing", async () => {
    await works({ env: { PATH: pathOf(machine, [...tools, "wget", "shasum", "perl"]) } });
  });

  test("takes the version that NGROKD_VERSION names, with or without v", async () => {
    const sums = sumLine(`ngrokd-9.9.9-${archive.target}.tar.gz`, "other") + small.sums;
    for (const wanted of ["1.0.0", "v1.0.0"]) {
      release.serve({ SHA256SUMS: sums, [small.name]: small.bytes });
      await works({ env: { NGROKD_VERSION: wanted } });
      expect(release.asked).toEqual(["SHA256SUMS", small.name]);
    }
    await refused({ env: { NGROKD_VERSION: "3.2.1" } }, /names no archive of ngrokd 3\.2\.1 for/);
    await refused(
      { env: { NGROKD_VERSION: "../../evil" } },
      /NGROKD_VERSION is "\.\.\/\.\.\/evil"/,
    );
  });

  test("on macOS, signs a program that the system does not let run", async () => {
    writeFileSync(join(machine.folder, "signed"), standIn, { mode: 0o755 });
    const killed = archiveOf({ ngrokd: "#!/bin/sh\nkill -KILL $$\n" });
    const scripts = {
      uname: "case $1 in -s) echo Darwin ;; -m) echo arm64 ;; esac",
      codesign: `[ "$1 $2 $3" = "--force --sign -" ] && cp ${machine.folder}/signed "$4"`,
    };
    const name = "ngrokd-1.0.0-darwin-arm64.tar.gz";
    release.serve({ SHA256SUMS: sumLine(name, killed), [name]: killed });
    const { code, stderr } = await machine.install([], { env: { PATH: machine.fakes(scripts) } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(versionOf(machine)).toBe("ngrokd 1.0.0");
  });

  test("asks for the archive of this system and processor", async () => {
    const targets = [
      "linux-x64",
      "linux-x64-musl",
      "linux-arm64",
      "linux-arm64-musl",
      "darwin-x64",
      "darwin-arm64",
    ];
    const glibc = { ldd: "echo 'ldd (GNU libc) 2.36'" };
    // As musl's ldd does: its name on stderr, and a failure.
    const musl = { ldd: "echo 'musl libc (x86_64)' >&2; exit 1" };
    const uname = (system: string, cpu: string) => ({
      uname: `case $1 in -s) echo ${system} ;; -m) echo ${cpu} ;; esac`,
    });
    const cases: [string, Record<string, string>][] = [
      ["linux-x64", { ...uname("Linux", "x86_64"), ...glibc }],
      ["linux-x64", { ...uname("Linux", "amd64"), ...glibc }],
      ["linux-x64-musl", { ...uname("Linux", "x86_64"), ...musl }],
      ["linux-arm64", { ...uname("Linux", "aarch64"), ...glibc }],
      ["linux-arm64-musl", { ...uname("Linux", "aarch64"), ...musl }],
      ["darwin-arm64", uname("Darwin", "arm64")],
      ["darwin-x64", { ...uname("Darwin", "x86_64"), sysctl: "echo 0" }],
      ["darwin-arm64", { ...uname("Darwin", "x86_64"), sysctl: "echo 1" }],
    ];
    const sums = targets.map((target) => sumLine(`ngrokd-1.0.0-${target}.tar.gz`, target)).join("");
    for (const [target, scripts] of cases) {
      release.serve({ SHA256SUMS: sums });
      await refused({ env: { PATH: machine.fakes(scripts) } }, /Cannot download/);
      expect(release.asked).toEqual(["SHA256SUMS", `ngrokd-1.0.0-${target}.tar.gz`]);
    }
  });
});

describe("install.sh changes nothing and says why", () => {
  test("when the checksum is wrong: the download is not even unpacked", async () => {
    release.serve({
      SHA256SUMS: small.sums,
      [small.name]: archiveOf({ ngrokd: `#!/bin/sh\ntouch ${machine.folder}/ran\n` }),
    });
    const { stderr } = await refused(
      {},
      /The checksum of ngrokd-\S+\.tar\.gz is wrong: expected [0-9a-f]{64}, got [0-9a-f]{64}/,
    );
    expect(stderr).toContain("hint:");
  });

  test("if SHA256SUMS has no archive for this system, or only a path elsewhere", async () => {
    release.serve({
      SHA256SUMS: sumLine("ngrokd-1.0.0-plan9-mips.tar.gz", "x"),
      [small.name]: small.bytes,
    });
    await refused({}, /The SHA256SUMS of http:\S+ names no archive of ngrokd for \S+/);
    release.serve({ SHA256SUMS: sumLine(`ngrokd-/../x-${archive.target}.tar.gz`, "x") });
    await refused({}, /names no archive/);
    release.serve({ SHA256SUMS: "<html>Sign in to the hotel's network</html>" });
    await refused({}, /names no archive/);
  });

  test("when the archive is cut short, by the network or on the server", async () => {
    const half = small.bytes.subarray(0, 100);
    release.serve({
      SHA256SUMS: small.sums,
      [small.name]: (response) => {
        response.writeHead(200, { "content-length": small.bytes.length });
        response.write(half, () => response.destroy());
      },
    });
    await refused({}, /Cannot download "http:\S+\.tar\.gz": \S+/);
    release.serve({ SHA256SUMS: small.sums, [small.name]: half });
    await refused({}, /The checksum of/);
  });

  test("when the release, or its archive, is not there", async () => {
    release.serve({});
    await refused({}, /Cannot download "http:\S+\/SHA256SUMS": .*404/);
    release.serve({ SHA256SUMS: small.sums });
    await refused({}, /Cannot download "http:\S+\.tar\.gz": .*404/);
    await refused(
      { env: { PATH: pathOf(machine, [...tools, "wget", "sha256sum"]) } },
      /Cannot download "http:\S+\.tar\.gz": .*404/,
    );
    await refused(
      { env: { NGROKD_RELEASE_URL: "http://127.0.0.1:1" } },
      /Cannot download "http:\/\/127\.0\.0\.1:1\/SHA256SUMS": \S+/,
    );
  });

  test("when there is no ngrokd for the system or the processor, before any download", async () => {
    const uname = (system: string, cpu: string) =>
      machine.fakes({ uname: `case $1 in -s) echo ${system} ;; -m) echo ${cpu} ;; esac` });
    await refused({ env: { PATH: uname("Plan9", "x86_64") } }, /There is no ngrokd for "Plan9"/);
    await refused(
      { env: { PATH: uname("MINGW64_NT-10.0", "x86_64") } },
      /There is no ngrokd for "MINGW64_NT-10\.0"/,
    );
    await refused(
      { env: { PATH: uname("Linux", "riscv64") } },
      /There is no ngrokd for "riscv64" processors/,
    );
    expect(release.asked).toEqual([]);
  });
});

describe("install.sh changes nothing on a machine that lacks something", () => {
  test("when a folder cannot be written, before any download", async () => {
    if (!asRoot) for (const name of ["bin", "etc"]) chmodSync(join(machine.folder, name), 0o555);
    await refused({ unprivileged: true }, /Cannot write to "\S+\/bin": permission denied/);
    const env = { NGROKD_INSTALL_DIR: join(machine.home, "bin") };
    await refused(
      { unprivileged: true, env },
      /Cannot write to "\S+\/etc\/ngrokd": permission denied/,
    );
    await refused(
      { env: { NGROKD_INSTALL_DIR: join(machine.hosts, "bin") } },
      /Cannot write to "\S+": "\S+\/hosts" is not a folder/,
    );
    expect(release.asked).toEqual([]);
  });

  test("when a tool is missing", async () => {
    await refused(
      { env: { PATH: pathOf(machine, [...tools, "sha256sum"]) } },
      /Neither curl nor wget is installed/,
    );
    await refused(
      { env: { PATH: pathOf(machine, [...tools, "curl"]) } },
      /Neither sha256sum nor shasum is installed/,
    );
    const withoutTar = tools.filter((name) => name !== "tar");
    await refused(
      { env: { PATH: pathOf(machine, [...withoutTar, "curl", "sha256sum"]) } },
      /tar is not installed/,
    );
  });

  test("when Ctrl-C ends it in the middle of the download", async () => {
    const before = machine.snapshot();
    const interrupt = new AbortController();
    release.serve({
      SHA256SUMS: small.sums,
      [small.name]: (response) => response.write("half", () => interrupt.abort()),
    });
    expect((await machine.install([], { interrupt: interrupt.signal })).code).toBe(130);
    expect(machine.snapshot()).toEqual(before);
  });

  test("when the program does not run here, or there is none in the archive", async () => {
    const { name } = small;
    const broken = archiveOf({ ngrokd: "#!/bin/sh\nexit 132\n" });
    release.serve({ SHA256SUMS: sumLine(name, broken), [name]: broken });
    await refused({}, /The program in ngrokd-\S+ does not run on this machine/);
    await refused(
      { env: { NGROKD_INSTALL_DIR: join(machine.folder, "new") } },
      /does not run on this machine/,
    );
    const empty = archiveOf({ readme: "nothing" });
    release.serve({ SHA256SUMS: sumLine(name, empty), [name]: empty });
    await refused({}, /Cannot unpack ngrokd-\S+ into/);
  });

  test.each([
    ["is empty", ""],
    ["is a link", "-> /bin/true"],
    ["is a folder", "/"],
    ["is another program", "#!/bin/sh\necho hello 1.0.0\n"],
    ["says nothing", "#!/bin/sh\nexit 0\n"],
  ])("when the archive's program %s", async (_what, content) => {
    const { name } = small;
    const bytes = archiveOf({ ngrokd: content });
    release.serve({ SHA256SUMS: sumLine(name, bytes), [name]: bytes });
    await refused({}, /(?:Cannot unpack ngrokd-\S+ into|The program in ngrokd-\S+ )/);
  });

  test("when the configuration cannot be written", async () => {
    const { name } = small;
    const broken = archiveOf({
      ngrokd:
        '#!/bin/sh\ncase $1 in config) touch "$4"; echo "error: disk full" >&2; exit 1 ;; esac\necho ngrokd 1\n',
    });
    release.serve({ SHA256SUMS: sumLine(name, broken), [name]: broken });
    await refused({}, /Cannot write "\S+\/config\.yml": error: disk full/);
  });

  test(
    "when it was cut off itself, at whatever byte",
    async () => {
      const script = readFileSync(join(machine.folder, "install.sh"), "utf8");
      const lastLine = script.lastIndexOf("{ main");
      const cuts = [...Array(40).keys()].map((i) => Math.floor((i * lastLine) / 40));
      for (let cut = lastLine; cut < script.trimEnd().length; cut += 1) cuts.push(cut);
      const before = machine.snapshot();
      for (const cut of cuts) {
        const { stdout } = await machine.install(["--uninstall", "--purge"], {
          script: script.slice(0, cut),
        });
        expect({ cut, stdout }).toEqual({ cut, stdout: "" });
      }
      expect(machine.snapshot()).toEqual(before);
      expect(release.asked).toEqual([]);
    },
    longTest,
  );

  test("when it is called in a way that it does not know", async () => {
    await refused({}, /Unknown option "--unistall"/, ["--unistall"]);
    await refused({}, /--purge is only for --uninstall/, ["--purge"]);
    expect(release.asked).toEqual([]);
  });
});

describe("install.sh --uninstall", () => {
  test("removes the program and keeps the files of the user and the daemon", async () => {
    installed();
    const { code, stdout, stderr } = await machine.install(["--uninstall"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(existsSync(machine.program)).toBe(false);
    expect(readdirSync(machine.configs).sort()).toEqual([
      "config.yml",
      "ip_mappings.json",
      "tls.key",
    ]);
    expect(stdout).toContain(`Removed ${machine.program}\nKept ${machine.configs}`);
    expect(release.asked).toEqual([]);
  });

  test("with --purge, and piped into sh, takes all of it", async () => {
    installed();
    const { code, stderr } = await machine.install(["--uninstall", "--purge"], { piped: true });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect({ program: existsSync(machine.program), configs: existsSync(machine.configs) }).toEqual({
      program: false,
      configs: false,
    });
    expect(existsSync(join(machine.folder, "etc"))).toBe(true);
  });

  test("says so when there is nothing to remove", async () => {
    const { code, stdout } = await machine.install(["--uninstall", "--purge"]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`There is no ${machine.program}`),
    });
  });

  test("does not purge a folder of another name", async () => {
    installed();
    await refused(
      { env: { NGROKD_CONFIG_DIR: machine.home } },
      /--purge removes a folder named "ngrokd" only/,
      ["--uninstall", "--purge"],
    );
  });

  test("needs the rights for all of it before it begins", async () => {
    installed();
    if (!asRoot) chmodSync(machine.programs, 0o555);
    await refused({ unprivileged: true }, /Cannot remove "\S+\/bin\/ngrokd": permission denied/, [
      "--uninstall",
    ]);
  });
});

describe("install.sh --uninstall of a machine that is registered", () => {
  /**
   * The installed program records its arguments. `unregister` removes the same
   * files as the real one, or fails.
   */
  function registeredMachine(unregister = 0): () => string {
    const calls = join(machine.folder, "calls");
    const remove =
      unregister === 0
        ? `rm -f ${machine.configs}/operator_id ${machine.configs}/tls.key`
        : `exit ${unregister}`;
    installed(
      `echo "$@" >> ${calls}\ncase $1 in status | service | config) exit 4 ;; esac\n${remove}`,
    );
    writeFileSync(join(machine.configs, "operator_id"), "k8sop_1");
    return () => readFileSync(calls, "utf8");
  }
  const onTty = async (options: string, answer: string) =>
    await onTerminal(["sh", installer, ...options.split(" ")], {
      env: machine.env,
      type: ["[y/N]", `${answer}\r`],
    });

  test("asks nothing without a terminal; --purge names what stays in the account", async () => {
    const calls = registeredMachine();
    const { code, stdout } = await machine.install(["--uninstall", "--purge"]);
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining("The operator k8sop_1 is still in your ngrok account"),
    });
    expect(calls()).not.toContain("unregister");
  });

  test("offers on a terminal to unregister, and does so only for a yes", async () => {
    const calls = registeredMachine();
    const { code, text } = await onTty("--uninstall --purge", "y");
    expect({ code, text }).toEqual({
      code: 0,
      text: expect.stringContaining("Delete the operator k8sop_1"),
    });
    expect(calls()).toContain(`unregister --yes --config ${machine.config}`);
    expect(text).not.toContain("is still in your ngrok account");
    expect({
      program: existsSync(machine.program),
      configs: existsSync(machine.configs),
    }).toEqual({ program: false, configs: false });
  });

  test("leaves the operator for any other answer", async () => {
    const calls = registeredMachine();
    const { code } = await onTty("--uninstall", "");
    expect({
      code,
      unregistered: calls().includes("unregister"),
      program: existsSync(machine.program),
    }).toEqual({ code: 0, unregistered: false, program: false });
    expect(readFileSync(join(machine.configs, "operator_id"), "utf8")).toBe("k8sop_1");
  });

  test("removes nothing if unregistering fails", async () => {
    registeredMachine(1);
    const { code, text } = await onTty("--uninstall --purge", "yes");
    expect({ code, text }).toEqual({
      code: 1,
      text: expect.stringContaining("nothing was removed"),
    });
    expect({
      program: existsSync(machine.program),
      tlsKey: existsSync(join(machine.configs, "tls.key")),
    }).toEqual({ program: true, tlsKey: true });
  });
});

describe("install.sh --uninstall while a daemon or a service may run", () => {
  test("refuses while a service needs the program, and ignores other services", async () => {
    const unit = join(machine.folder, "ngrokd.service");
    const status = JSON.stringify({ installed: "ours", path: unit, state: "inactive" }, null, 2);
    installed(`[ "$1" = service ] && printf '%s\\n' '${status}'\nexit 4`);
    const made = (program: string): void =>
      writeFileSync(unit, `# Made by \`ngrokd service install\`\nExecStart=${program} serve\n`);
    made(machine.program);
    await refused({}, /ngrokd is installed as a service/, ["--uninstall", "--purge"]);
    made("/opt/other/ngrokd");
    expect((await machine.install(["--uninstall"])).code).toBe(0);
    expect(existsSync(machine.program)).toBe(false);
  });

  test.each([
    [0, "", "ngrokd is running"],
    [
      1,
      'error: No answer from the daemon on "/run/s" within 30 s',
      'Cannot tell whether ngrokd is running: No answer from the daemon on "/run/s"',
    ],
    [
      5,
      'error: Cannot use the control socket "/run/s": permission denied',
      'running: Cannot use the control socket "/run/s": permission denied',
    ],
    [2, "", "Cannot tell whether ngrokd is running: exit code 2"],
    [70, "error: odd\nhint:  more", "Cannot tell whether ngrokd is running: odd"],
  ])(
    "refuses unless the program itself says that none runs: exit code %i",
    async (code, said, error) => {
      installed(`echo '${said}' >&2; exit ${code}`);
      const { stderr } = await refused({}, /^error: /, ["--uninstall", "--purge"]);
      expect(stderr).toContain(error);
    },
  );

  test.each([4, 126, 127])(
    "goes on if none runs, or if the program cannot be started: exit code %i",
    async (code) => {
      installed(`exit ${code}`);
      expect((await machine.install(["--uninstall"])).code).toBe(0);
      expect(existsSync(machine.program)).toBe(false);
    },
  );

  test.if(asRoot)(
    "refuses another user while root's daemon runs, whose socket is closed to them",
    async () => {
      serveReal();
      const env = { NGROKD_INSTALL_DIR: "", NGROKD_CONFIG_DIR: "" };
      expect((await machine.install([], { env, unprivileged: true })).code).toBe(0);
      const program = join(machine.home, ".local/bin/ngrokd");
      const config = join(machine.home, ".config/ngrokd/config.yml");
      writeFileSync(
        config,
        JSON.stringify({
          server: { client_cert: at("tls.crt"), client_key: at("tls.key"), health_port: "any" },
        }),
      );
      const daemon = spawn(program, ["serve", "--config", config], {
        env: machine.env,
        stdio: "pipe",
      });
      const ended = outcomeOf(daemon);
      try {
        await untilUp(ended, program);
        const purge = ["--uninstall", "--purge"];
        await refused(
          { env, unprivileged: true },
          /Cannot tell whether ngrokd is running: .*permission denied/,
          purge,
        );
        const again = await machine.install([], { env, unprivileged: true });
        expect(again.stdout).toMatch(
          /Cannot tell whether a daemon is running \(.*permission denied\)/,
        );
      } finally {
        daemon.kill("SIGTERM");
      }
      expect((await ended).code).toBe(0);
    },
    longTest,
  );

  test("warns of a section that a killed daemon left in the hosts file", async () => {
    installed();
    writeFileSync(
      machine.hosts,
      "127.0.0.1\tlocalhost\n# BEGIN ngrokd managed section\n127.0.0.2\ta.b\n# END ngrokd managed section\n",
    );
    const { code, stdout } = await machine.install(["--uninstall"]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`left its section in ${machine.hosts}`),
    });
  });

  test("warns of a section in another file that the journal names, also with --purge", async () => {
    installed();
    const file = join(machine.folder, "resolv.conf");
    writeFileSync(
      file,
      "# BEGIN ngrokd managed section\nnameserver 127.0.0.1\n# END ngrokd managed section\n",
    );
    const changes = [
      { kind: "hosts", path: machine.hosts },
      { kind: "resolv-conf", path: file },
    ];
    writeFileSync(
      join(machine.configs, "journal.json"),
      JSON.stringify({ version: 1, changes }, undefined, 2),
    );
    const { code, stdout } = await machine.install(["--uninstall", "--purge"]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`left its section in ${file}`),
    });
    expect(stdout).not.toContain(`left its section in ${machine.hosts}`);
  });

  test("warns of a whole file that a killed daemon left for a resolver", async () => {
    installed();
    const file = join(machine.folder, "ngrokd.conf");
    writeFileSync(file, `${fileMarker}\nserver=/team.internal/127.0.0.1\n`);
    writeFileSync(
      join(machine.configs, "journal.json"),
      JSON.stringify({ version: 1, changes: [{ kind: "file", path: file }] }, undefined, 2),
    );
    const { code, stdout } = await machine.install(["--uninstall"]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`left ${file}: remove it`),
    });
  });

  test(
    "refuses while the daemon runs, since only its stop cleans the hosts file",
    async () => {
      serveReal();
      expect((await machine.install()).code).toBe(0);
      const state = join(machine.folder, "var/ngrokd");
      const settings = {
        socket_path: machine.env.NGROKD_SOCKET,
        client_cert: `${state}/tls.crt`,
        client_key: `${state}/tls.key`,
        health_port: "any",
      };
      writeFileSync(machine.config, JSON.stringify({ server: settings }));
      const daemon = spawn(machine.program, ["serve", "--config", machine.config], {
        env: machine.env,
        stdio: "pipe",
      });
      const ended = outcomeOf(daemon);
      try {
        await untilUp(ended, machine.program);
        await refused({}, /ngrokd is running/, ["--uninstall", "--purge"]);
      } finally {
        daemon.kill("SIGTERM");
      }
      expect((await ended).code).toBe(0);
      expect(existsSync(state)).toBe(true);
      expect((await machine.install(["--uninstall", "--purge"])).code).toBe(0);
      expect({
        program: existsSync(machine.program),
        configs: existsSync(machine.configs),
        state: existsSync(state),
      }).toEqual({ program: false, configs: false, state: false });
    },
    longTest,
  );
});

describe("install.sh --uninstall of a machine whose daemon has its files elsewhere", () => {
  const state = (): string => join(machine.folder, "var/ngrokd");
  /**
   * In the format of `config show --json`, which the test of a real daemon
   * below confirms.
   */
  function apart(folder = state()): void {
    const settings = {
      "server.client_cert": { value: join(folder, "tls.crt"), origin: "default" },
    };
    const shown = JSON.stringify({ path: machine.config, settings }, null, 2);
    installed(
      `echo "$@" >> ${machine.folder}/calls\n[ "$1" = config ] && printf '%s\\n' '${shown}' && exit\nexit 4`,
    );
    mkdirSync(folder, { recursive: true });
    for (const name of ["tls.crt", "tls.key"]) writeFileSync(join(folder, name), "mine");
    writeFileSync(join(folder, "operator_id"), "k8sop_1");
  }

  test("purges these too, and names what stays in the account", async () => {
    apart();
    const { code, stdout, stderr } = await machine.install(["--uninstall", "--purge"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect({
      program: existsSync(machine.program),
      configs: existsSync(machine.configs),
      state: existsSync(state()),
    }).toEqual({ program: false, configs: false, state: false });
    expect(stdout).toContain(
      `Removed ${state()}\nRemoved ${machine.configs}\nThe operator k8sop_1 is still in your ngrok account`,
    );
    expect(readFileSync(join(machine.folder, "calls"), "utf8")).toContain(
      `config show --json --config ${machine.config}\n`,
    );
  });

  test("offers to unregister", async () => {
    apart();
    const { text } = await onTerminal(["sh", installer, "--uninstall"], {
      env: machine.env,
      type: ["[y/N]", "\r"],
    });
    expect(text).toContain("Delete the operator k8sop_1");
  });

  test("names the files that it keeps", async () => {
    apart();
    expect((await machine.install(["--uninstall"])).stdout).toContain(
      `Kept ${state()}, with the daemon's key`,
    );
    expect(readdirSync(state()).sort()).toEqual(["operator_id", "tls.crt", "tls.key"]);
  });

  test.each([
    ["in a folder that is not its own", "var/keys", []],
    ["beside another configuration", "var/ngrokd", ["config.yml"]],
  ] as const)("leaves them %s, and says so", async (_where, folder, others) => {
    apart(join(machine.folder, folder));
    for (const name of others) writeFileSync(join(machine.folder, folder, name), "another's");
    const { code, stdout } = await machine.install(["--uninstall", "--purge"]);
    expect({ code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(`Kept ${join(machine.folder, folder)}, with`),
    });
    expect(readdirSync(join(machine.folder, folder)).sort()).toEqual(
      [...others, "operator_id", "tls.crt", "tls.key"].sort(),
    );
  });

  test("needs the rights for them before it begins", async () => {
    apart();
    if (asRoot)
      for (const path of [machine.programs, join(machine.folder, "etc"), machine.configs])
        chmodSync(path, 0o777);
    else chmodSync(join(machine.folder, "var"), 0o555);
    const purge = ["--uninstall", "--purge"];
    const { stderr } = await refused(
      { unprivileged: true },
      /Cannot remove "\S+\/var\/ngrokd": permission denied/,
      purge,
    );
    expect(stderr).toContain(
      `with NGROKD_INSTALL_DIR=${machine.programs} NGROKD_CONFIG_DIR=${machine.configs}`,
    );
  });
});

test("install.sh --help explains the options and every variable that it reads", async () => {
  const { code, stdout } = await machine.install(["--help"]);
  expect(code).toBe(0);
  const script = readFileSync(join(machine.folder, "install.sh"), "utf8");
  const read = new Set(script.match(/(?<=\$\{)NGROKD_[A-Z_]+/g));
  expect(read.size).toBe(5);
  for (const name of [...read, "--uninstall", "--purge"]) expect(stdout).toContain(name);
  expect(release.asked).toEqual([]);
});

/**
 * An installed machine without the download. Its program says that no daemon
 * runs.
 */
function installed(status = "exit 4"): void {
  writeFileSync(machine.program, `#!/bin/sh\n${status}\n`, { mode: 0o755 });
  mkdirSync(machine.configs, { recursive: true });
  for (const name of ["config.yml", "tls.key", "ip_mappings.json"])
    writeFileSync(join(machine.configs, name), "mine");
}

const at = (name: string): string => join(machine.configs, name);

async function untilUp(
  ended: Promise<{ code: number; stderr: string }>,
  program: string,
): Promise<void> {
  let early: { code: number; stderr: string } | undefined;
  ended.then((outcome) => {
    early = outcome;
  });
  for (
    const deadline = Date.now() + 30_000;
    Date.now() < deadline;
    await new Promise((resolve) => setTimeout(resolve, 50))
  ) {
    if (early !== undefined)
      throw new Error(`The daemon ended with ${early.code}: ${early.stderr}`);
    const answers = spawnSync(program, ["status"], { env: machine.env }).status === 0;
    // Its first files and its socket are whole, so that a snapshot stays true.
    const files = machine.snapshot().join("\n");
    if (answers && files.includes("/trusted-") && !/\.tmp |^\.ngrokd-/m.test(files)) return;
  }
  throw new Error("The daemon did not come up within 30 s");
}

function serveReal(): void {
  release.serve({ SHA256SUMS: archive.sums, [archive.name]: archive.bytes });
}

/** Runs install.sh and checks that the release's program is there and runs. */
async function works(options: Parameters<Machine["install"]>[1]): Promise<void> {
  const { code, stderr } = await machine.install([], options);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(versionOf(machine)).toBe("ngrokd 1.0.0");
}

/**
 * Runs install.sh and checks the promise for failures: an error in one line, at
 * most a hint, exit code 1, nothing changed.
 */
async function refused(
  options: Parameters<Machine["install"]>[1],
  error: RegExp,
  args: readonly string[] = [],
) {
  const before = machine.snapshot();
  const outcome = await machine.install(args, options);
  expect(outcome.stderr).toMatch(error);
  expect(outcome.stderr).toMatch(/^error: [^\n]+\n(?:hint: {2}[^\n]+\n)?$/);
  expect(outcome.code).toBe(1);
  expect(machine.snapshot()).toEqual(before);
  return outcome;
}

const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);

const versionOf = ({ program, env }: Machine): string =>
  spawnSync(program, ["--version"], { env, encoding: "utf8" }).stdout.trim();

/** The commands of the last lines. */
const commandsIn = (stdout: string): string[] =>
  (stdout.trim().split("\n\n").at(-1) ?? "")
    .split("\n")
    .map((line) => /ngrokd (\S+)/.exec(line.replace(/^.*\/ngrokd /, "ngrokd "))?.[1] ?? "");
