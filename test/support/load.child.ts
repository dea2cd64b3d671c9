/**
 * A program that loads endpoints which echo, until its standard input ends and
 * LEAST short connections are complete:
 * `load.child.ts RATE LONG LEAST NAME=IP:PORT…`. It opens RATE connections a
 * second by the clock, however slow the answers are, each with its own bytes
 * and its own end. It keeps LONG others open, with a hash of all their bytes.
 * All the time it reads the hosts file. At the end it prints what it has seen,
 * as JSON.
 */
import { createHash, type Hash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import type { LoadReport } from "./load.ts";

const [rateText = "", longText = "", leastText = "", ...places] = process.argv.slice(2);
const targets = places.map((text) => {
  const [name = "", ip = "", port = ""] = text.split(/[=:]/);
  return { name, ip, port: Number(port) };
});
const report: LoadReport = {
  begun: 0,
  leftOut: 0,
  mostOpen: 0,
  seconds: 0,
  complete: 0,
  refused: 0,
  reset: 0,
  cut: 0,
  wrong: 0,
  longBytes: 0,
  longBroken: 0,
  longestMs: 0,
  missingNames: [],
  errors: [],
};

/**
 * Short connections at the same time: those of 0.3 s. Beyond that this machine
 * is too slow, and the ingress gives up the connections that wait for their
 * turn.
 */
const atOnce = Math.max(15, Math.ceil(0.3 * Number(rateText)));
/** How long it goes on after its standard input, for LEAST. */
const longestExtraMs = 60_000;
let askedToEnd = Number.POSITIVE_INFINITY;
let ending = false;
process.stdin
  .on("data", () => undefined)
  .on("end", () => {
    askedToEnd = performance.now();
  });

const open = new Set<Promise<void>>();
const long = Array.from({ length: Number(longText) }, (_, i) => stream(i));
const begin = performance.now();
while (!mayEnd()) {
  const due = Math.floor(((performance.now() - begin) / 1000) * Number(rateText));
  while (report.begun + report.leftOut < due) {
    if (open.size >= atOnce) {
      report.leftOut += 1;
      continue;
    }
    const one = short(report.begun).finally(() => open.delete(one));
    open.add(one);
    report.begun += 1;
    report.mostOpen = Math.max(report.mostOpen, open.size);
  }
  const hosts = readFileSync("/etc/hosts", "utf8");
  const rows = new Map(hosts.split("\n").map((line) => rowOf(line.trim().split(/\s+/))));
  for (const { name, ip } of targets) if (rows.get(name) !== ip) report.missingNames.push(name);
  await Bun.sleep(4);
}
ending = true;
report.seconds = (performance.now() - begin) / 1000;
await Promise.all([...open, ...long]);
console.log(JSON.stringify({ ...report, missingNames: [...new Set(report.missingNames)] }));
process.exit(0);

function mayEnd(): boolean {
  const extraMs = performance.now() - askedToEnd;
  return extraMs >= (report.complete < Number(leastText) ? longestExtraMs : 0);
}

/** A name of the hosts file, and its address. */
function rowOf([ip = "", name = ""]: readonly string[]): [string, string] {
  return [name, ip];
}

function dial(i: number): Socket {
  const target = targets[i % targets.length];
  if (target === undefined) throw new Error("no target");
  return connect({ host: target.ip, port: target.port, allowHalfOpen: true });
}

/** One connection: bytes there and back, and an end of each side. */
function short(i: number): Promise<void> {
  return new Promise((resolve) => {
    const started = performance.now();
    const sent = randomBytes(200 + (i % 800));
    const received: Buffer[] = [];
    const socket = dial(i);
    socket.on("connect", () => socket.end(sent));
    socket.on("data", (bytes: Buffer) => received.push(bytes));
    socket.on("error", (error: NodeJS.ErrnoException) => broke(error));
    socket.on("close", (hadError) => {
      report.longestMs = Math.max(report.longestMs, Math.round(performance.now() - started));
      const got = Buffer.concat(received);
      if (!got.equals(sent.subarray(0, got.length))) report.wrong += 1;
      else if (!hadError && got.length === sent.length) report.complete += 1;
      else if (!hadError) report.cut += 1;
      resolve();
    });
  });
}

function broke({ code, message }: NodeJS.ErrnoException): void {
  if (code === "ECONNREFUSED" || code === "EHOSTUNREACH") report.refused += 1;
  else report.reset += 1;
  tell(message);
}

function tell(error: string): void {
  if (report.errors.length < 5) report.errors.push(error);
}

/** A connection that carries bytes until the end. */
async function stream(i: number): Promise<void> {
  const socket = dial(i);
  const [up, down] = [createHash("sha256"), createHash("sha256")];
  let broken = false;
  socket.on("data", (bytes: Buffer) => count(down, bytes));
  socket.on("error", ({ message }) => {
    broken = true;
    tell(`a long one: ${message}`);
  });
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  while (!ending && !broken) {
    const bytes = randomBytes(512 + (i % 7) * 300);
    up.update(bytes);
    socket.write(bytes);
    await Bun.sleep(150);
  }
  socket.end();
  await closed;
  if (broken || up.digest("hex") !== down.digest("hex")) report.longBroken += 1;
}

function count(hash: Hash, bytes: Buffer): void {
  hash.update(bytes);
  report.longBytes += bytes.length;
}
