import { beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { randomFrom } from "../soak/pattern.ts";
import { configFor, startCloud } from "../support/cloud.ts";
import { backTo, type Footprint, footprint } from "../support/footprint.ts";
import { type Daemon, run, serve, writeConfig } from "../support/ngrokd.ts";
import { issue, rootCa } from "../support/pki.ts";
import {
  type Harm,
  harms,
  type Plan,
  type RoughIngress,
  roughIngress,
  stages,
} from "../support/rough-ingress.ts";
import { stories, until } from "../support/story.ts";
import { dial } from "../support/tcp.ts";

const size = 300_000;
/** Unique bytes, the same at every call. */
const blob = (name: string): Buffer =>
  createHash("shake256", { outputLength: size }).update(name).digest();
const [up, down] = [blob("up"), blob("down")];
const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** The result of a client that sent all of `up` at once and then finished. */
interface Outcome {
  readonly got: Buffer;
  readonly left: "end" | "reset";
}

async function exchange(name: string): Promise<Outcome> {
  const client = await dial(name, 7000);
  const got: Buffer[] = [];
  client.socket.on("data", (bytes: Buffer) => got.push(bytes));
  // `left` reports a reset.
  const said = client.write(up).catch(() => undefined);
  client.end();
  const left = await client.left;
  // The other side's end does not stop our direction: the bytes may still
  // arrive.
  if (left === "end") await said;
  client.socket.destroy();
  return { got: Buffer.concat(got), left };
}

/**
 * The invariants of every connection, whatever the harm: no byte is wrong, and
 * a short stream has no clean end.
 */
function check({ got, left }: Outcome, harm: Harm): void {
  expect(hash(got)).toBe(hash(down.subarray(0, got.length)));
  if (left === "end") expect(got.length).toBe(size);
  if (harm === "stall" || harm === "slow") expect(left).toBe("end");
}

stories("a rough way to the ingress", () => {
  let daemon: Daemon;
  let ingress: RoughIngress;
  let before: Footprint;

  beforeAll(async () => {
    const ca = await rootCa();
    writeFileSync("/run/rough-ca.crt", ca.cert);
    ingress = await roughIngress(await issue(ca, "rough", { names: ["127.0.0.1"] }), down);
    const cloud = await startCloud();
    await cloud.add("tcp://rough.demo:7000", "127.0.0.1:9");
    writeConfig(
      configFor(cloud, {
        ingressEndpoint: ingress.endpoint,
        server: { ingress_ca: "/run/rough-ca.crt" },
        // Without ready connections, each plan meets its connection.
        forward: { pool: { min: 0, max: 0 } },
      }),
    );
    daemon = await serve();
    await daemon.becomes("rough.demo", "listening");
    await works();
    before = footprint(daemon.pid);
  });

  /** Checks every byte of an undisturbed connection. */
  const works = async (): Promise<void> => {
    const { got, left } = await exchange("rough.demo");
    expect({ got: hash(got), left }).toEqual({ got: hash(down), left: "end" });
  };

  /** A FIN on the wire breaks the connection too, since TLS has not ended. */
  const isBroken = (harm: Harm): boolean =>
    harm === "reset" || harm === "cut" || harm === "half-close";

  describe.each([...stages])("%s", (stage) => {
    test.each([...harms])(
      "%s: no byte is wrong, each break is counted, and all is given back",
      async (harm) => {
        const { harmed } = ingress;
        const errors = (await daemon.endpoint("rough.demo"))?.connections.errors ?? 0;
        ingress.plan({ harm, at: stage });
        const outcome = await exchange("rough.demo");
        expect(ingress.harmed).toBe(harmed + 1);
        check(outcome, harm);
        const broken = isBroken(harm);
        if (broken) expect(outcome.left).toBe("reset");
        if (broken)
          await until(
            "it is counted",
            async () => (await daemon.endpoint("rough.demo"))?.connections.errors === errors + 1,
          );
        await works();
        await backTo(before, daemon);
        await until("the ingress has let go", () => ingress.open === 0);
      },
    );
  });

  test("a FIN in the midst of a download fails it for curl, and is counted as cut", async () => {
    const cut = async (): Promise<number | undefined> =>
      (await daemon.endpoint("rough.demo"))?.errors_by_kind.cut;
    const before = await cut();
    ingress.plan({ harm: "half-close", at: "in the midst of what comes down" });
    const words = ["curl", "-sS", "--max-time", "60", "--http0.9", "-o", "/run/download"];
    const { code, err } = await run([...words, "http://rough.demo:7000/"]);
    expect({ code, err }).toEqual({ code: 56, err: expect.stringContaining("reset by peer") });
    await until("it is counted", async () => (await cut()) === (before ?? 0) + 1);
    expect(daemon.log()).toContain("it ended without TLS's close_notify");
  });

  test("60 connections, each disturbed at a random byte: no byte is wrong", async () => {
    const seed = Number(process.env.STORY_SEED ?? Date.now() % 1_000_000);
    console.log(`Random harm: repeat with STORY_SEED=${seed}`);
    const random = randomFrom(seed);
    const tally: Record<string, number> = {};
    for (let n = 0; n < 60; n += 1) {
      const plan: Plan = {
        harm: harms[Math.floor(random() * harms.length)] ?? "reset",
        // Half of them in the handshake and the header.
        at: {
          direction: random() < 0.5 ? "up" : "down",
          bytes: Math.floor(random() < 0.5 ? random() * 3000 : random() * 1.02 * size),
        },
      };
      ingress.plan(plan);
      try {
        const outcome = await exchange("rough.demo");
        check(outcome, plan.harm);
        const kind = `${plan.harm}: ${outcome.left === "end" ? (outcome.got.length === size ? "whole" : "ended early") : "reset"}`;
        tally[kind] = (tally[kind] ?? 0) + 1;
      } catch (error) {
        throw new Error(
          `seed ${seed}, connection ${n}, ${JSON.stringify(plan)}: ${error instanceof Error ? error.message : error}`,
        );
      }
    }
    console.log(JSON.stringify(tally));
    await works();
    await backTo(before, daemon);
    await until("the ingress has let go", () => ingress.open === 0);
  });

  test("while the port is closed, clients are reset; the next connection works", async () => {
    await ingress.close();
    for (let n = 0; n < 3; n += 1) {
      expect((await exchange("rough.demo")).left).toBe("reset");
    }
    expect((await daemon.endpoint("rough.demo"))?.connections.last_error).toContain("refused");
    await ingress.reopen();
    await works();
    await backTo(before, daemon);
  });
});
