import { expect, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Finding } from "../../src/doctor/finding.ts";
import type { Way } from "../../src/doctor/why.ts";
import { configFor, registered, startCloud } from "../support/cloud.ts";
import { binary, ngrokd, run, serve, start, writeConfig } from "../support/ngrokd.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { dial, echo, upstream } from "../support/tcp.ts";
import { page } from "../support/web.ts";

stories("the same daemon under Deno", () => {
  test("registers, lists, carries HTTP and TCP both ways, and leaves nothing behind", async () => {
    const { cloud, daemon } = await registered({ deno: true });
    expect((await daemon.status()).runtime).toBe("deno");
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await cloud.add(
      "tcp://mail.demo:2525",
      (await upstream((socket) => void socket.end("220 ready\r\n"))).address,
    );
    await daemon.refresh();
    expect((await ngrokd("list --json")).json).toHaveLength(3);
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");

    const mail = await dial("mail.demo", 2525);
    expect(await mail.rest()).toBe("220 ready\r\n");
    mail.end();

    const client = await dial("echo.demo", 7000);
    const block = "0123456789abcdef".repeat(65_536);
    for (let i = 0; i < 8; i += 1) await client.write(block);
    client.end();
    expect(await client.rest()).toBe(block.repeat(8));

    await cloud.break("refuse*1");
    expect(await (await dial("echo.demo", 7000)).left).toBe("reset");
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  });
});

stories("names and DNS under Deno", () => {
  test("an alias, a reload, a wildcard, and another name server go on as ever", async () => {
    const before = "nameserver 127.0.0.99\n";
    writeFileSync("/etc/resolv.conf", before);
    atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
    const cloud = await startCloud();
    await cloud.add("http://*.team.internal", page("wild").address);
    await cloud.add("http://exact.team.internal", page("exact").address);
    const config = (deny: readonly string[]) =>
      configFor(cloud, {
        dns: { enabled: true, manage_resolv_conf: true },
        names: { alias: { "exact.team.internal": ["short.demo"] }, deny },
      });
    writeConfig(config([]));
    const daemon = await serve({ deno: true });
    await daemon.becomes("exact.team.internal", "listening");
    const asked = async (name: string): Promise<string> =>
      (await run(["dig", "+short", "+tries=1", "+time=30", "@127.0.0.1", name])).out.trim();
    const text = async (url: string): Promise<string> =>
      (await run(["curl", "-sS", ...url.split(" ")])).out;

    expect(await text("http://short.demo/")).toBe("exact");
    const ip = await asked("a.team.internal");
    expect(ip).toMatch(/^127\./);
    expect(await asked("b.team.internal")).not.toBe(ip);
    await daemon.becomes("a.team.internal", "listening");
    expect(await text(`http://a.team.internal/ --resolve a.team.internal:80:${ip}`)).toBe("wild");
    await until("resolv.conf names the server", () =>
      readFileSync("/etc/resolv.conf", "utf8").includes("nameserver 127.0.0.1\n"),
    );

    writeConfig(config(["exact.team.internal"]));
    await daemon.reload();
    await until("the denied name is gone", () => {
      return !readFileSync("/etc/hosts", "utf8").includes("exact.team.internal");
    });
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/resolv.conf", "utf8")).toBe(before);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  });
});

stories("the demo", () => {
  const nothingLeft = (): void => {
    expect(readdirSync("/run/tmp")).toEqual([]);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  };

  test("`DEMO_ONCE=1 ngrokd demo` shows it all and exits 0, without root", async () => {
    const { out, err, code } = await ngrokd("demo", { env: { DEMO_ONCE: "1" }, as: "nobody" });
    expect(code).toBe(0);
    expect(err).toContain("The demo has ended");
    for (const part of [
      "http://hello.demo:8080 answered:",
      "tcp://echo.demo:7000 answered:",
      "one, two, three",
      "127.0.0",
    ]) {
      expect(out).toContain(part);
    }
    nothingLeft();
  });

  test("`ngrokd demo` runs until Ctrl-C, and the suggested requests work", async () => {
    const demo = start("the demo", [binary(), "demo"]);
    const text = await until(
      "it is ready",
      () => demo.log().includes("Ctrl-C ends it.") && demo.log(),
    );
    const lines = text.replaceAll("\\\n", " ").split("\n");
    const commands = lines.flatMap(
      (line) => /^ {2}\$ ((?!nc ).*?)(?: {3,}#.*)?$/.exec(line)?.[1] ?? [],
    );
    expect(commands).toHaveLength(8);
    const works = async (command: string): Promise<true> => {
      const { code, out } = await run(["sh", "-c", command]);
      expect({ command, code, silent: out === "" }).toEqual({ command, code: 0, silent: false });
      return true;
    };
    // Doctor and why have deadlines, which a busy machine may miss.
    for (const command of commands) {
      if (!/ (?:doctor|why) /.test(command)) await works(command);
      else await until(`no deadline is missed: ${command}`, () => works(command));
    }
    expect(await demo.stop("SIGINT")).toBe(0);
    nothingLeft();
  });

  test("the suggested checks, doctor and why, find nothing to warn of", async () => {
    const demo = start("the demo", [binary(), "demo"]);
    const text = await until(
      "it is ready",
      () => demo.log().includes("Ctrl-C ends it.") && demo.log(),
    );
    const [doctor = "", why = ""] = ["doctor", "why"].map((word) =>
      text
        .split("\n")
        .find((line) => line.includes(` ${word} `))
        ?.replace("  $ ", ""),
    );
    const findings = await until("doctor has no deadline missed", async () => {
      const looked = await run(["sh", "-c", `${doctor} --json`]);
      const { findings }: { findings: Finding[] } = looked.json;
      expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
      return findings;
    });
    expect(findings.filter(({ check }) => check === "names").map(({ text }) => text)).toEqual([
      expect.stringMatching(/^2 of 2 are in ".*\/hosts", which the daemon keeps$/),
    ]);

    const ways = await until("why has no deadline missed", async () => {
      const followed = await run(["sh", "-c", `${why} --json`]);
      const { ways }: { ways: Way[] } = followed.json;
      expect(ways.flatMap(({ steps }) => steps).filter(({ level }) => level !== "ok")).toEqual([]);
      return ways;
    });
    expect(ways.map(({ subject }) => subject)).toEqual(["hello.demo:8080"]);
    expect(await demo.stop("SIGINT")).toBe(0);
    nothingLeft();
  });
});
