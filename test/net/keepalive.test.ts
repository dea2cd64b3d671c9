import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { net } from "../support/conns.ts";

/** The unit of times in /proc, on every machine that Linux runs on today. */
const userHz = 100;

/**
 * The seconds until the kernel's keepalive timer sends a probe on the
 * established socket between these two ports; proc(5), column `tr tm->when`.
 */
function keepaliveIn(localPort: number, remotePort: number): number | undefined {
  const [from, to] = [localPort, remotePort].map(
    (port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`,
  ) as [string, string];
  const rows = readFileSync("/proc/net/tcp", "utf8").split("\n").slice(1);
  const row = rows
    .map((line) => line.trim().split(/\s+/))
    .find(
      ([, local, remote, state]) => local?.endsWith(from) && remote?.endsWith(to) && state === "01",
    );
  const [timer, when = ""] = row?.[5]?.split(":") ?? [];
  return timer === "02" ? Number.parseInt(when, 16) / userHz : undefined;
}

test.skipIf(process.platform !== "linux")(
  "both ends of a connection ask the kernel whether the other is still there",
  async () => {
    const accepted = Promise.withResolvers<Awaited<ReturnType<typeof net.dial>>>();
    const listener = await net.listen({ host: "127.0.0.1", port: 0 }, (conn) =>
      accepted.resolve(conn),
    );
    const dialed = await net.dial(listener.address);
    const taken = await accepted.promise;
    // Each end's own port is the far port of the other.
    const [near, far] = [taken, dialed].map(({ remote }) =>
      "port" in remote ? remote.port : 0,
    ) as [number, number];
    // No sooner, since an outage of seconds must not end an idle connection.
    // The probes themselves take 10 s more.
    for (const seconds of [keepaliveIn(near, far), keepaliveIn(far, near)])
      expect(seconds).toBeWithin(50, 110);
    dialed.abort();
    taken.abort();
    listener.close();
  },
);
