import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * How long the commands that people and scripts run most take, from start to exit, with the compiled binary and a daemon that runs:
 * `bun test/bench/startup.ts [RUNS]`. Needs no root and touches nothing outside a temporary folder. NGROKD_BINARY names another binary.
 */
const runs = Number(process.argv[2] ?? 40);
const binary = process.env.NGROKD_BINARY ?? join(import.meta.dirname, "..", "..", "dist", "ngrokd");
const folder = mkdtempSync(join(tmpdir(), "ngrokd-startup-"));
const config = join(folder, "config.yml");
const server = {
  socket_path: join(folder, "sock"),
  client_cert: join(folder, "tls.crt"),
  client_key: join(folder, "tls.key"),
  health_port: 0,
};
writeFileSync(config, JSON.stringify({ server }), { mode: 0o600 });
writeFileSync(join(folder, "hosts"), "");

const env = { PATH: process.env.PATH ?? "", NGROKD_CONFIG: config, NGROKD_HOSTS_PATH: join(folder, "hosts") };
const daemon = Bun.spawn({ cmd: [binary, "serve"], env, stdout: "ignore", stderr: "ignore" });
try {
  const deadline = performance.now() + 10_000;
  while ((await timed("status")).code !== 0) {
    if (performance.now() > deadline) throw new Error(`${binary}: the daemon does not answer`);
  }
  console.log(`milliseconds from start to exit, ${runs} runs each`);
  console.log("command         fastest   median     p95");
  for (const words of ["--version", "status", "list", "list --json", "health", "--help", "config path", "config show"]) {
    const times: number[] = [];
    for (let i = 0; i < runs; i += 1) times.push((await timed(words)).ms);
    times.sort((a, b) => a - b);
    const at = (part: number): string =>
      (times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN).toFixed(1).padStart(8);
    console.log(`${words.padEnd(14)} ${at(0)} ${at(0.5)} ${at(0.95)}`);
  }
} finally {
  daemon.kill();
  await daemon.exited;
  rmSync(folder, { recursive: true, force: true });
}

async function timed(words: string): Promise<{ ms: number; code: number }> {
  const started = performance.now();
  const code = await Bun.spawn({ cmd: [binary, ...words.split(" ")], env, stdout: "ignore", stderr: "ignore" }).exited;
  return { ms: performance.now() - started, code };
}
