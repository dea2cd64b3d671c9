import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { net } from "../support/conns.ts";

/** Whether the kernel's keepalive timer runs on the established socket between these two ports; proc(5), column `tr`. */
function keepaliveRuns(localPort: number, remotePort: number): boolean {
  const [from, to] = [localPort, remotePort].map((port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`) as [string, string];
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1);
  const row = rows
    .map((line) => line.trim().split(/\s+/))
    .find(([, local, remote, state]) => local?.endsWith(from) && remote?.endsWith(to) && state === "01");
  return row?.[5]?.startsWith("02:") === true;
}

test.skipIf(process.platform !== "linux")("both ends of a connection ask the kernel whether the other is still there", async () => {
  const accepted = Promise.withResolvers<Awaited<ReturnType<typeof net.dial>>>();
  const listener = await net.listen({ host: "127.0.0.1", port: 0 }, (conn) => accepted.resolve(conn));
  const dialed = await net.dial(listener.address);
  const taken = await accepted.promise;
  // Each end's own port is the other's far one.
  const [near, far] = [taken, dialed].map(({ remote }) => ("port" in remote ? remote.port : 0)) as [number, number];
  expect([keepaliveRuns(near, far), keepaliveRuns(far, near)]).toEqual([true, true]);
  dialed.abort();
  taken.abort();
  listener.close();
});
