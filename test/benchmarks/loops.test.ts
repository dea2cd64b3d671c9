import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import {
  createFrameReader,
  decodeConnResponse,
  encodeConnRequest,
} from "../../src/ingress/frame.ts";
import { writeCertificates } from "../bench/cloud.ts";
import { loops } from "../bench/peers.ts";
import { stopAll } from "../bench/processes.ts";
import { type Connects, type Doors, type Rig, startRig } from "../bench/rig.ts";

const folder = mkdtempSync(join(tmpdir(), "ngrokd-benchmarks-"));
/** Where `make bench` keeps the built program. */
const cache = join(import.meta.dirname, "..", "..", "dist", "bench");
const goIsHere = process.platform === "linux" && Bun.which("go") !== null;

describe.skipIf(!goIsHere)("the rig of the benchmark", () => {
  let rig: Rig;
  const doors = new Map<string, Doors>();

  // It is built first.
  beforeAll(async () => {
    await writeCertificates(folder);
    rig = await startRig(folder, cache);
    for (const { loop } of loops) doors.set(loop, await rig.forward(loop));
  }, 120_000);

  afterAll(stopAll);

  const portOf = (loop: string, where: "near" | "far"): string =>
    `-to=127.0.0.1:${doors.get(loop)?.[where]}`;

  test.each(loops)(
    "$name carries new connections to the ingress here, and to the far one",
    async ({ loop }) => {
      for (const where of ["near", "far"] as const) {
        const to = portOf(loop, where);
        const seen = await rig.load<Connects>(to, "-do=connect", "-count=20", "-at-once=4");
        expect({ where, done: seen.done, failed: seen.failed, reason: seen.reason }).toEqual({
          where,
          done: 20,
          failed: 0,
          reason: "",
        });
      }
    },
  );

  test.each(loops)("$name carries bulk in both directions, and ends with it", async ({ loop }) => {
    for (const way of ["down", "up"]) {
      const load = ["-do=bulk", "-streams=2", "-bytes=4000000", `-way=${way}`];
      const seen = await rig.load<{ seconds: number }>(portOf(loop, "near"), ...load);
      expect(seen.seconds, way).toBeGreaterThan(0);
    }
  });

  test("the ingress takes a request and the stream's first byte in one write", async () => {
    const file = (name: string): string => readFileSync(join(folder, name), "utf8");
    const socket = connect({
      host: "127.0.0.1",
      port: rig.near.header,
      servername: "",
      ca: file("ca.pem"),
      cert: file("client.pem"),
      key: file("client.key.pem"),
    });
    const request = encodeConnRequest({ host: "relay.bench", port: 7000 });
    socket.write(Buffer.concat([request, Buffer.from("e")]));
    const take = createFrameReader();
    let stream = "";
    let answer: unknown;
    for await (const bytes of socket) {
      const split = answer === undefined ? take(bytes) : undefined;
      if (split?.kind === "need-more") continue;
      if (split !== undefined) answer = decodeConnResponse(split.payload);
      stream += Buffer.from(split?.rest ?? bytes).toString();
      if (stream !== "") break;
    }
    expect({ answer, stream }).toEqual({
      answer: {
        ok: true,
        value: { kind: "accepted", endpointId: "ep_bench", proto: "tcp", notices: [] },
      },
      stream: "e",
    });
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));
