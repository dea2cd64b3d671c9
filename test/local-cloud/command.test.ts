import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCli } from "../../src/cli/run.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { createSay } from "../../src/terminal/say.ts";
import { ask, echo, open, register, until } from "./support.ts";

const bunNet = createBunNet();

/** `ngrokd cloud WORDS…` in this process. */
function cloudCommand(...words: string[]) {
  let [out, err] = ["", ""];
  const stop = new AbortController();
  const output = (write: (text: string) => void) => ({ write, isTerminal: false, columns: 80 });
  const say = createSay({
    json: words.includes("--json"),
    debug: false,
    out: output((text) => {
      out += text;
    }),
    err: output((text) => {
      err += text;
    }),
    env: {},
  });
  const io = {
    net: bunNet,
    say,
    env: {},
    stop: stop.signal,
    hurry: new AbortController().signal,
    onHangUp: () => {},
  };
  const exit = runCli(["cloud", ...words], io);
  return {
    exit,
    out: () => out,
    err: () => err,
    stop: () => {
      stop.abort("SIGTERM");
      return exit;
    },
  };
}

const anyPorts = ["--api-port", "0", "--ingress-port", "0"];

describe("ngrokd cloud, for programs", () => {
  test("prints its addresses in one JSON object, serves, and ends with 0", async () => {
    const folder = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
    try {
      const caFile = join(folder, "ca.crt");
      const [first, second] = [await echo(), await echo()];
      const words = [
        "--endpoint",
        `tcp://a.demo:1=${first}`,
        `--endpoint=tcp://b.demo:2=${second},http://c.demo=${first}`,
      ];
      const more = [
        "--key",
        "my-own-key",
        "--ca-file",
        caFile,
        "--cert-lifetime",
        "3600",
        "--fault",
        "html*1",
        "--fault=notice=hi, you*1",
      ];
      const command = cloudCommand("--json", ...anyPorts, ...words, ...more);
      await until("it is ready", () => command.out() !== "");
      // One line, so that a program need not wait for the end of the object.
      expect(command.out().match(/\n/g)).toHaveLength(1);
      const { apiUrl, ingress, apiKey, ...rest } = JSON.parse(command.out());
      expect({ apiKey, ...rest }).toEqual({ apiKey: "my-own-key", caFile });
      expect(apiUrl).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);

      const cloud = {
        apiUrl,
        apiKey,
        ingressAddress: ingress,
        intermediatePem: readFileSync(caFile, "utf8"),
      };
      expect((await ask(cloud, "GET", "/endpoints")).status).toBe(502);
      const listed = (await ask(cloud, "GET", "/endpoints")).json.endpoints.map(
        ({ url }: { url: string }) => url,
      );
      expect(listed.sort()).toEqual(["http://c.demo", "tcp://a.demo:1", "tcp://b.demo:2"]);
      const identity = await register(cloud);
      const operator = (await ask(cloud, "GET", `/kubernetes_operators/${identity.id}`)).json
        .binding.cert;
      expect(Date.parse(operator.not_after) - Date.parse(operator.not_before)).toBe(3_600_000);
      const client = await open(cloud, identity, "b.demo", 2);
      expect(client.reply).toMatchObject({
        ok: true,
        value: { kind: "accepted", notices: ["hi, you"] },
      });

      expect(await command.stop()).toBe(0);
      await expect(fetch(apiUrl)).rejects.toThrow();
      expect(existsSync(caFile)).toBe(true);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe("ngrokd cloud, for people", () => {
  test("shows people a configuration and first steps, and leaves no file behind", async () => {
    const command = cloudCommand(...anyPorts, "--endpoint", "http://hello.demo=localhost:3000");
    await until("it is ready", () => command.out() !== "");
    const text = command.out();
    expect(text).toContain("http://hello.demo -> localhost:3000");
    const caFile = /ingress_ca: (\S+)/.exec(text)?.[1] ?? "";
    expect(readFileSync(caFile, "utf8")).toContain("BEGIN CERTIFICATE");
    const url = /url: (\S+)/.exec(text)?.[1] ?? "";
    expect(text).toContain(`curl ${url}/_cloud/endpoints`);
    expect(text).toContain("key: local-cloud-key");
    expect(await command.stop()).toBe(0);
    expect(existsSync(caFile)).toBe(false);
  });

  test("refuses flags that make no sense, before it does anything", async () => {
    const wrong: Record<string, string> = {
      "--api-port 70000": "--api-port is wrong",
      "--ingress-port -1": '"-1"',
      "--endpoint http://hello.demo": "is not url=host:port",
      "--endpoint tcp://hello.demo=127.0.0.1:1": "names no port",
      "--endpoint http://hello.demo=3000": '"3000" names no port',
      "--fault explode": "there is no fault",
      "--key short": "--key is wrong",
      "--cert-lifetime 1h": "--cert-lifetime is wrong",
    };
    for (const [words, message] of Object.entries(wrong)) {
      const command = cloudCommand(...words.split(" "));
      expect({ words, exit: await command.exit }).toEqual({ words, exit: 2 });
      expect(command.err()).toContain(message);
      expect(command.out()).toBe("");
    }
  });

  test("says which port is taken", async () => {
    const server = createServer();
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const command = cloudCommand("--api-port", String(port), "--ingress-port", "0");
    expect(await command.exit).not.toBe(0);
    expect(command.err()).toContain(
      `Cannot listen on "127.0.0.1:${port}": the address is already in use`,
    );
    server.close();
  });
});

test("ngrokd cloud does the same under Deno", async () => {
  const root = join(import.meta.dir, "../..");
  const words = ["run", "-A", join(root, "src/main.ts"), "cloud", "--json", ...anyPorts];
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-test-"));
  const caFile = join(folder, "ca.crt");
  const deno = Bun.spawn([join(root, "node_modules/.bin/deno"), ...words, "--ca-file", caFile], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  try {
    let out = "";
    for await (const bytes of deno.stdout) {
      out += new TextDecoder().decode(bytes);
      if (out.endsWith("}\n")) break;
    }
    if (out === "") throw new Error(await deno.stderr.text());
    const { apiUrl, ingress: ingressAddress, apiKey } = JSON.parse(out);
    const cloud = { apiUrl, apiKey, ingressAddress, intermediatePem: readFileSync(caFile, "utf8") };
    await ask(cloud, "POST", "/_cloud/endpoints", {
      body: { url: "tcp://echo.demo:7000", upstream: await echo() },
    });
    const identity = await register(cloud);
    const hear = async () => {
      const client = await open(cloud, identity, "echo.demo", 7000);
      client.write("hello");
      client.end();
      return client.first + (await client.rest());
    };
    expect(await hear()).toBe("hello");

    for (const fault of ["stream-reset*1", "drop*1"])
      await ask(cloud, "POST", "/_cloud/faults", { body: { fault } });
    await expect(ask(cloud, "GET", "/endpoints")).rejects.toThrow();
    const reset = await open(cloud, identity, "echo.demo", 7000);
    await expect(reset.rest()).rejects.toThrow();
    expect(await hear()).toBe("hello");
    expect((await ask(cloud, "DELETE", `/kubernetes_operators/${identity.id}`)).status).toBe(204);
    await expect(open(cloud, identity, "echo.demo", 7000)).rejects.toThrow("closed after 0 reads");

    await ask(cloud, "POST", "/_cloud/faults", { body: { fault: "latency=600000" } });
    const late = ask(cloud, "GET", "/endpoints").catch(() => undefined);
    deno.kill("SIGTERM");
    expect(await deno.exited).toBe(0);
    await late;
  } finally {
    deno.kill("SIGKILL");
    await deno.exited;
    await rm(folder, { recursive: true, force: true });
  }
}, 30_000);
