import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Measures the commands that people and scripts run most, from start to exit,
 * with the compiled binary and a running daemon: `bun test/bench/startup.ts
 * [RUNS]`. Needs no root and changes nothing outside a temporary folder.
 * NGROKD_BINARY names another binary.
 */
const runs = Number(process.argv[2] ?? 40);
const binary = process.env.NGROKD_BINARY ?? join(import.meta.dirname, "..", "..", "dist", "ngrokd");
const folder = mkdtempSync(join(tmpdir(), "ngrokd-startup-"));
const config = join(folder, "config.yml");
const server = {
  socket_path: join(folder, "sock"),
  client_cert: join(folder, "tls.crt"),
  client_key: join(folder, "tls.key"),
  health_port: "any",
};
writeFileSync(config, JSON.stringify({ server }), { mode: 0o600 });
writeFileSync(join(folder, "hosts"), "");

const env = {
  PATH: process.env.PATH ?? "",
  NGROKD_CONFIG: config,
  NGROKD_HOSTS_PATH: join(folder, "hosts"),
};
const daemon = Bun.spawn({ cmd: [binary, "serve"], env, stdout: "ignore", stderr: "ignore" });
try {
  const deadline = performance.now() + 10_000;
  while ((await timed("status")).code !== 0) {
    if (performance.now() > deadline) throw new Error(`${binary}: the daemon does not answer`);
  }
  console.log(`milliseconds from start to exit, ${runs} runs each`);
  console.log("command         fastest   median     p95   median of CPU time");
  for (const words of [
    "--version",
    "status",
    "list",
    "list --json",
    "health",
    "--help",
    "config path",
    "config show",
  ]) {
    const found: Awaited<ReturnType<typeof timed>>[] = [];
    for (let i = 0; i < runs; i += 1) found.push(await timed(words));
    const wall = found.map(({ ms }) => ms);
    const figures = [
      quantile(wall, 0),
      quantile(wall, 0.5),
      quantile(wall, 0.95),
      quantile(
        found.map(({ cpuMs }) => cpuMs),
        0.5,
      ),
    ];
    console.log(`${words.padEnd(14)} ${figures.map((ms) => ms.toFixed(1).padStart(8)).join(" ")}`);
  }
} finally {
  daemon.kill();
  await daemon.exited;
  rmSync(folder, { recursive: true, force: true });
}

async function timed(words: string): Promise<{ ms: number; cpuMs: number; code: number }> {
  const started = performance.now();
  const child = Bun.spawn({
    cmd: [binary, ...words.split(" ")],
    env,
    stdout: "ignore",
    stderr: "ignore",
  });
  const code = await child.exited;
  return {
    ms: performance.now() - started,
    cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0n) / 1000,
    code,
  };
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
}
