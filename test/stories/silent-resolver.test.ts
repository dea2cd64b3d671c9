import { expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { configFor, registered, startCloud } from "../support/cloud.ts";
import { ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { carries } from "../support/round-trip.ts";
import { atEnd, freshMachine, stories } from "../support/story.ts";
import { echo } from "../support/tcp.ts";

/** The machine's name server: it takes every question and never answers. */
async function swallowing(): Promise<void> {
  const socket = createSocket("udp4");
  await new Promise<void>((bound) => socket.bind(53, "127.0.0.1", bound));
  atEnd(() => socket.close());
}

const silent = (name: string): string =>
  `Cannot look up "${name}": the name server "127.0.0.1" does not answer`;

stories("a name server that swallows every question", () => {
  test("is named by doctor as the one that does not answer", async () => {
    freshMachine();
    const { cloud, daemon } = await registered();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
    expect(await daemon.stop()).toBe(0);
    await swallowing();
    const url = "https://api.test";
    writeConfig({ ...configFor(cloud, { api: { url } }), ingressEndpoint: "ingress.test:443" });
    const { out } = await ngrokd("doctor --json");
    const { findings } = JSON.parse(out) as { findings: { check: string; text: string }[] };
    const said = (check: string) => findings.find((finding) => finding.check === check)?.text;
    expect(said("api")).toBe(silent("api.test"));
    expect(said("ingress")).toBe(silent("ingress.test"));
    expect(out).not.toContain("does a firewall block it, or want a proxy");
  });

  test("does not keep new connections from an ingress whose address is known", async () => {
    freshMachine();
    const cloud = await startCloud();
    const port = cloud.ingress.split(":").at(-1) ?? "";
    // Less than the 10 s after which the resolver itself gives up.
    const forward = { open_timeout: 9, pool: { min: 0, max: 0 } };
    writeConfig({ ...configFor(cloud, { forward }), ingressEndpoint: `localhost:${port}` });
    const daemon = await serve();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
    expect(await carries("echo.demo", 7000)).toBe(true);
    // The endpoint's line stays; only the ingress's name goes.
    const hosts = readFileSync("/etc/hosts", "utf8");
    writeFileSync("/etc/hosts", hosts.replaceAll(/^.*localhost.*$/gm, ""));
    expect(await carries("echo.demo", 7000)).toBe(true);
    // Each lookup without an answer keeps a thread of the runtime's. With as
    // few as processors, all work on files would wait too.
    expect(readFileSync(`/proc/${daemon.pid}/environ`, "utf8")).toContain("UV_THREADPOOL_SIZE=32");
    expect(await daemon.stop()).toBe(0);
  });
});
