import { beforeEach, expect, test } from "bun:test";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { fitsKey, inspectCertificate } from "../../src/cloud/certificate.ts";
import { type Cloud, type CloudOptions, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { echo, type Peer } from "../support/tcp.ts";

const folder = "/etc/ngrokd";
const file = (name: string): string => readFileSync(`${folder}/${name}`, "utf8");
const works = (): Promise<boolean> => carries("echo.demo", 7000);

let cloud: Cloud;
let daemon: Daemon;
let open: Peer;
const ids = async (): Promise<string[]> => (await cloud.operators()).map(({ id }) => id);
const fingerprint = async (): Promise<string | undefined> =>
  (await daemon.status()).certificate?.fingerprint;
const warnings = async (): Promise<string> => (await daemon.status()).warnings.join("\n");

/** A daemon on a new machine, with an open connection. */
async function serving(options: CloudOptions = {}): Promise<void> {
  cloud = await startCloud(options);
  await cloud.add("tcp://echo.demo:7000", (await echo()).address);
  writeConfig(configFor(cloud));
  daemon = await serve();
  await daemon.becomes("echo.demo", "listening");
  open = await talking("echo.demo", 7000);
}

/** Replaces a file as deployment tools do. */
function put(name: string, text: string): void {
  writeFileSync(`${folder}/${name}.new`, text, { mode: 0o600 });
  renameSync(`${folder}/${name}.new`, `${folder}/${name}`);
}

stories("the files of the identity", () => {
  beforeEach(async () => {
    freshMachine();
    await serving();
  });

  test.each([
    ["key", "certificate"],
    ["certificate", "key"],
  ])("are never used as a pair that does not match: a new %s, later its %s", async (first) => {
    const before = await fingerprint();
    const key = (await run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"])).out;
    writeFileSync("/run/tmp/next.key", key);
    const csr = (
      await run(["openssl", "req", "-new", "-key", "/run/tmp/next.key", "-subj", "/", "-batch"])
    ).out;
    const answer = await cloud.api("PATCH", `/kubernetes_operators/${file("operator_id")}`, {
      binding: { csr },
    });
    const steps = [() => put("tls.key", key), () => put("tls.crt", answer.binding.cert.cert)];
    if (first === "certificate") steps.reverse();

    steps[0]?.();
    await until("it is reported", async () => (await warnings()).includes("does not fit the key"));
    expect({
      fingerprint: await fingerprint(),
      works: await works(),
      openEchoes: await echoes(open, "still"),
    }).toEqual({ fingerprint: before, works: true, openEchoes: true });
    steps[1]?.();
    await until("both are in use", async () => (await fingerprint()) !== before);
    expect({
      warnings: await warnings(),
      works: await works(),
      openEchoes: await echoes(open, "still"),
    }).toEqual({ warnings: "", works: true, openEchoes: true });
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test.each(["tls.crt", "tls.key"])(
    "%s that is broken at the start is replaced for the same operator, and set aside",
    async (name) => {
      const before = await ids();
      open.reset();
      await daemon.stop();
      writeFileSync(`${folder}/${name}`, "broken");
      daemon = await serve();
      await daemon.becomes("echo.demo", "listening");
      expect({
        works: await works(),
        ids: await ids(),
        pairFits: fitsKey(file("tls.crt"), file("tls.key")),
      }).toEqual({ works: true, ids: before, pairFits: true });
      await until("the log tells why", () =>
        daemon.log().includes("The saved identity cannot be used"),
      );
      const aside = readdirSync(folder).filter((other) => other.startsWith(`${name}.old-`));
      expect(aside.map(file)).toEqual(["broken"]);
      expect(await daemon.stop()).toBe(0);
    },
  );
});

stories("a disk that is full when the certificate is renewed", () => {
  test("uses the new one, keeps the saved one whole, and replaces it once there is room", async () => {
    await run(["mkdir", "-p", folder]);
    await run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", folder]);
    atEnd(() => run(["umount", "-l", folder]));
    await serving();
    const [before, saved] = [await fingerprint(), file("tls.crt")];
    await run(["sh", "-c", `dd if=/dev/zero of=${folder}/filler bs=4096 2>/dev/null; true`]);
    // X.509 counts in seconds, and the later certificate wins.
    await until("it is renewed", async () => (await ngrokd("refresh-cert --force")).code === 0);
    expect(await fingerprint()).not.toBe(before);
    expect(await warnings()).toContain(
      `cannot be saved: Cannot write "${folder}/tls.crt": no space left on the device`,
    );
    expect({
      certificate: file("tls.crt"),
      pairFits: fitsKey(file("tls.crt"), file("tls.key")),
    }).toEqual({ certificate: saved, pairFits: true });
    expect({ works: await works(), openEchoes: await echoes(open, "still") }).toEqual({
      works: true,
      openEchoes: true,
    });

    rmSync(`${folder}/filler`);
    await until("it is saved", async () => file("tls.crt") !== saved && (await warnings()) === "");
    const inUse = await fingerprint();
    open.reset();
    expect(await daemon.stop()).toBe(0);
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    expect({ fingerprint: await fingerprint(), works: await works() }).toEqual({
      fingerprint: inUse,
      works: true,
    });
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a key of another account that is given when the certificate has expired", () => {
  const another = "another-key-9";
  let old: string;

  beforeEach(async () => {
    freshMachine();
    cloud = await startCloud({ args: "--cert-lifetime 5" });
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    writeConfig(configFor(cloud));
    daemon = await serve();
    // No connection: such a certificate may have expired before it.
    await daemon.becomes("echo.demo", "listening");
    await daemon.stop();
    [old = ""] = await ids();
    const certificate = inspectCertificate(file("tls.crt"));
    await until("it has expired", () => certificate.ok && certificate.value.notAfter <= new Date());
    await cloud.certificateLife(86_400);
    await cloud.key(another, "another");
  });

  /** A daemon that cannot repair it. */
  const unregistered = async (): Promise<void> => {
    daemon = await serve();
    await until(
      "registration has failed",
      async () => (await daemon.status()).registration === "failed",
    );
  };

  test("is refused, with and without a daemon, until ngrok replies", async () => {
    const refused = async (): Promise<void> => {
      const { code, err } = await ngrokd("set-api-key -", { stdin: another });
      expect({ code, err }).toEqual({
        code: 1,
        err: expect.stringContaining(`does not know this machine's operator "${old}"`),
      });
      expect(err).toContain("--switch-account");
      expect({
        ids: await ids(),
        operatorFile: file("operator_id"),
        configHasNewKey: file("config.yml").includes(another),
      }).toEqual({ ids: [old], operatorFile: old, configHasNewKey: false });
    };
    await refused();
    await cloud.break("only=PATCH");
    await cloud.break("503");
    await unregistered();
    await refused();
    await cloud.mend();
    await daemon.becomes("echo.demo", "listening");
    expect({ works: await works(), ids: await ids() }).toEqual({ works: true, ids: [old] });
    expect(await daemon.stop()).toBe(0);
  });

  test("moves this machine on request, without a daemon", async () => {
    const { code, out } = await ngrokd("set-api-key - --switch-account", { stdin: another });
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining(`The operator ${old} of the old account is deleted.`),
    });
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    expect({ works: await works(), ids: await ids() }).toEqual({
      works: true,
      ids: [file("operator_id")],
    });
    expect(await daemon.stop()).toBe(0);
  });

  test("moves it with a daemon too, and names the operator that a revoked key leaves", async () => {
    await cloud.key(cloud.apiKey, undefined);
    await unregistered();
    const { code, out } = await ngrokd("set-api-key - --switch-account", { stdin: another });
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining(`delete the operator ${old} in the dashboard of the account`),
    });
    await daemon.becomes("echo.demo", "listening");
    expect({ works: await works(), ids: (await ids()).sort() }).toEqual({
      works: true,
      ids: [old, file("operator_id")].sort(),
    });
    expect(await daemon.stop()).toBe(0);
  });
});
