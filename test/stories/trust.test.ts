import { beforeAll, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const failing = "New connections fail:";
const curl = async (): Promise<{ out: string; code: number }> =>
  await run(["curl", "-sS", "--max-time", "60", "http://hello.demo/"]);

stories("an ingress whose CA is not trusted", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let ca: X509Certificate;

  beforeAll(async () => {
    cloud = await startCloud();
    ca = new X509Certificate(readFileSync(cloud.caFile));
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud, { server: { ingress_ca: "" } }));
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
  });

  test("status warns before the first connection, with advice; the log does so once", async () => {
    await until("the warning is there", async () =>
      (await daemon.status()).warnings.some((text) => text.startsWith(failing)),
    );
    const { out } = await ngrokd("status");
    expect(out.replaceAll(/\s+/g, " ")).toContain(`warning: ${failing}`);
    expect(out.replaceAll(/\s+/g, " ")).toContain("ngrokd trust https://");
    await daemon.refresh();
    await daemon.refresh();
    const told = () => daemon.lines().filter(({ message }) => message.startsWith(failing));
    await until("the log says so", () => told().length > 0);
    expect(told()).toHaveLength(1);
  });

  test("until then it is degraded and not ready, for people and for programs", async () => {
    const { phase, reason } = await daemon.status();
    expect({ phase, reason }).toEqual({
      phase: "degraded",
      reason: expect.stringContaining(failing),
    });
    expect((await ngrokd("status")).out).toMatch(/^State: +degraded: New connections fail:/);
    expect((await ngrokd("health")).code).toBe(1);
    const readyz = await fetch("http://127.0.0.1:8081/readyz");
    expect({ status: readyz.status, text: await readyz.text() }).toEqual({
      status: 503,
      text: expect.stringContaining(failing),
    });
  });

  test("no byte is carried, and the list names the issuer and the next step", async () => {
    expect((await curl()).code).not.toBe(0);
    const failed = await until("the failure is counted", async () => {
      const item = await daemon.endpoint("hello.demo");
      return item?.connections.errors === 1 && item;
    });
    const issuer = ca.subject.split("\n").join(", ");
    const { last_error } = failed.connections;
    expect(last_error).toContain(`issued by "${issuer}"`);
    expect(last_error).toMatch(
      /the certificate shown is of "CN=127\.0\.0\.1", .* SHA-256 (?:[0-9A-F]{2}:){31}[0-9A-F]{2}/,
    );
    const line = await until("the log says so", () =>
      daemon.lines().find(({ message }) => message.includes("cannot reach the endpoint")),
    );
    expect(line.message).toContain(last_error);
    expect(line.hint).toContain("this CA is not ngrok's");
    expect(line.hint).toContain("ngrokd trust https://");
    expect((await ngrokd("list")).out.replaceAll(/\s+/g, " ")).toContain(
      "the latest connection failed:",
    );
    expect((await ngrokd("list")).out.replaceAll(/\s+/g, " ")).toContain(issuer);
  });

  test("`ngrokd trust FILE` refuses a CA that is not ngrok's published one", async () => {
    const { code, err } = await ngrokd(`trust ${cloud.caFile}`);
    expect(code).toBe(1);
    expect(err).toContain(ca.fingerprint256);
    expect(err).toContain("CF:CE:8A:27");
    expect(err).toContain("add --force");
    expect(existsSync("/etc/ssl/certs/ngrok")).toBe(false);
  });

  test("a file without a certificate is refused, with --force too", async () => {
    expect((await ngrokd("trust --force /etc/hosts")).err).toContain(
      "there is no certificate in it",
    );
    expect((await ngrokd("trust --force /nowhere.crt")).err).toContain("no such file");
    expect(existsSync("/etc/ssl/certs/ngrok")).toBe(false);
  });

  test("`ngrokd trust --force FILE` installs it, and the next connection works", async () => {
    const { code, out } = await ngrokd(`trust --force ${cloud.caFile}`);
    expect(code).toBe(0);
    expect(out).toContain(ca.fingerprint256);
    const [name] = readdirSync("/etc/ssl/certs/ngrok");
    expect(out).toContain(`/etc/ssl/certs/ngrok/${name}`);
    await daemon.refresh();
    expect(await curl()).toMatchObject({ out: "hello", code: 0 });
    expect((await daemon.endpoint("hello.demo"))?.connections.last_error).toBe("");
    expect((await ngrokd(`trust --force ${cloud.caFile} --json`)).json).toMatchObject([
      { published: false, changed: false },
    ]);
  });

  test("server.ingress_ca does the same; a missing file stops the start with a hint", async () => {
    await daemon.stop();
    writeConfig(configFor(cloud, { server: { ingress_ca: "/nowhere/ca.crt" } }));
    const { code, err } = await ngrokd("serve");
    expect(code).toBe(2);
    expect(err).toContain('"/nowhere/ca.crt"');
    expect(err).toContain("hint:  it must be a PEM file, or a folder of PEM files");
  });

  test("undo takes the installed CA and its empty folder away", async () => {
    expect((await ngrokd("undo --yes")).code).toBe(0);
    expect(existsSync("/etc/ssl/certs/ngrok")).toBe(false);
    expect(existsSync("/etc/ssl/certs")).toBe(true);
  });
});

stories("an ingress that shows a CA with a published fingerprint", () => {
  const file = "/etc/ngrokd/ingress-ca.crt";
  let cloud: Cloud;
  let fingerprint: string;
  const published = (sha256: string): void =>
    writeConfig(configFor(cloud, { server: { ingress_ca: "", ingress_ca_sha256: [sha256] } }));

  beforeAll(async () => {
    cloud = await startCloud();
    const about = (await (await fetch(`${cloud.apiUrl}/_cloud`)).json()) as {
      intermediate_ca: string;
    };
    ({ fingerprint256: fingerprint } = new X509Certificate(about.intermediate_ca));
    await cloud.add("http://hello.demo", page("hello").address);
  });

  test("is trusted without a step, and its CA is kept", async () => {
    published(fingerprint);
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await curl()).toMatchObject({ out: "hello", code: 0 });
    expect(new X509Certificate(readFileSync(file)).fingerprint256).toBe(fingerprint);
    const told = () => daemon.lines().filter(({ message }) => message.includes("has shown a CA"));
    await until("the log says so", () => told().length > 0);
    expect(told()).toHaveLength(1);
    expect((await daemon.status()).warnings).toEqual([]);
    await daemon.stop();
  });

  test("a kept CA counts no more once its fingerprint is not accepted", async () => {
    published("CF".repeat(32));
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect((await curl()).code).not.toBe(0);
    const { code, err } = await ngrokd("trust");
    expect(code).toBe(1);
    expect(err).toContain("the certificate shown is of");
    await daemon.stop();
  });

  test("`ngrokd trust` does the same without a daemon, and says what it saw", async () => {
    rmSync(file);
    published(fingerprint);
    const { code, out } = await ngrokd("trust");
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringMatching(/^Now trusted: .* has shown a certificate of "CN=127\.0\.0\.1"/),
    });
    expect(new X509Certificate(readFileSync(file)).fingerprint256).toBe(fingerprint);
    expect((await ngrokd("trust")).out).toMatch(/^Already trusted: /);
  });
});

stories("server.insecure_skip_verify", () => {
  test("works, and shouts in the log, in status and in list", async () => {
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud, { server: { ingress_ca: "", insecure_skip_verify: true } }));
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect((await curl()).out).toBe("hello");
    const loud = (): boolean =>
      daemon
        .lines()
        .some(
          ({ level, message }) =>
            level === "warn" && message.includes("the ingress is NOT verified"),
        );
    await until("the log says so", loud);
    const status = await ngrokd("status");
    expect(status.out).toContain(`${cloud.ingress}  NOT VERIFIED`);
    expect(status.out).toContain("warning: server.insecure_skip_verify is on");
    expect((await ngrokd("status --json")).json.insecure_skip_verify).toBe(true);
    expect((await ngrokd("list --json")).err).toContain("NOT verified");
    const list = await ngrokd("list");
    expect(list.err).toContain("warning: the ingress's certificate is NOT verified");
    expect(list.out).not.toContain("NOT verified");
  });
});
