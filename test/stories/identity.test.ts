import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const curl = async (url: string): Promise<string> =>
  (await run(["curl", "-sS", "--max-time", "60", url])).out;

stories("an identity that the Go program made", () => {
  const folder = "/etc/ngrokd";
  let cloud: Cloud;
  let operatorId: string;
  let left: Record<string, string>;
  const files = (): Record<string, string> =>
    Object.fromEntries(
      ["tls.key", "tls.crt", "operator_id"].map((name) => [
        name,
        readFileSync(`${folder}/${name}`, "utf8"),
      ]),
    );

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    mkdirSync(folder, { recursive: true });
    await run([
      "openssl",
      "ecparam",
      "-name",
      "secp384r1",
      "-genkey",
      "-noout",
      "-out",
      `${folder}/tls.key`,
    ]);
    const csr = await run([
      "openssl",
      "req",
      "-new",
      "-key",
      `${folder}/tls.key`,
      "-subj",
      "/O=ngrok",
      "-batch",
    ]);
    const operator = await cloud.api("POST", "/kubernetes_operators", {
      description: "made by the Go program",
      enabled_features: ["bindings"],
      binding: { endpoint_selectors: ["true"], csr: csr.out },
    });
    operatorId = operator.id;
    writeFileSync(`${folder}/tls.crt`, operator.binding.cert.cert);
    writeFileSync(`${folder}/operator_id`, operatorId);
    writeFileSync(
      `${folder}/ip_mappings.json`,
      JSON.stringify({ "hello.demo": "10.107.0.2", "gone.demo": "10.107.0.3" }),
    );
    left = files();
    expect(left["tls.key"]).toContain("BEGIN EC PRIVATE KEY");
    writeConfig(configFor(cloud, { net: { subnet: "10.107.0.0/16", interface_name: "ngrokd0" } }));
  });

  test("is used as it is: same operator, same files, and connections are carried", async () => {
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await daemon.status()).toMatchObject({ registered: true, operator_id: operatorId });
    expect(await curl("http://hello.demo/")).toBe("hello");
    expect(await cloud.operators()).toHaveLength(1);
    expect(files()).toEqual(left);
    // The Go program stored no ingress address, so ngrok was asked for it.
    expect(readFileSync(`${folder}/ingress_endpoint`, "utf8").trim()).toBe(cloud.ingress);
    expect(daemon.log()).toContain(
      "The addresses of the names come from a virtual interface: 10.107.0.0/16",
    );
    expect(readFileSync("/etc/hosts", "utf8")).toMatch(/^10\.107\.\S+\thello\.demo$/m);
    expect(await daemon.stop()).toBe(0);
  });

  test("a damaged address file is set aside with a warning, and nothing else is lost", async () => {
    writeFileSync(`${folder}/ip_mappings.json`, '{"hello.demo": "127.0.0.');
    const daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(
      readdirSync(folder).some(
        (name) =>
          name.startsWith("ip_mappings.json.") &&
          readFileSync(`${folder}/${name}`, "utf8").endsWith("127.0.0."),
      ),
    ).toBe(true);
    await until("the log tells of it", () =>
      daemon
        .lines()
        .some(({ level, message }) => level === "warn" && message.includes("ip_mappings.json")),
    );
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a state folder that cannot be written", () => {
  test("is reported before ngrok hears of this machine; later the daemon registers", async () => {
    freshMachine();
    const cloud = await startCloud();
    mkdirSync("/run/frozen", { recursive: true });
    await run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", "/run/frozen"]);
    atEnd(() => run(["umount", "/run/frozen"]));
    writeConfig(
      configFor(cloud, {
        server: { client_cert: "/run/frozen/tls.crt", client_key: "/run/frozen/tls.key" },
      }),
    );
    const daemon = await serve();
    const { reason } = await until("it is degraded", async () => {
      const now = await daemon.status();
      return now.phase === "degraded" && now.registration === "failed" && now;
    });
    expect(reason).toContain('"/run/frozen": the file system is read-only');
    await daemon.refresh();
    expect(await cloud.operators()).toEqual([]);
    await run(["mount", "-o", "remount,rw", "/run/frozen"]);
    await until("it has registered", async () => (await daemon.status()).registered);
    expect(await cloud.operators()).toHaveLength(1);
    expect(await daemon.stop()).toBe(0);
  });
});
