import { connect, createServer, type Socket } from "node:net";

/**
 * A TCP proxy before the ingress that harms connections at any stage: before
 * TLS, in the handshake, in the header, in the stream. It records what it did,
 * since a soak looks for failures without a fault.
 */
export interface FaultProxy {
  readonly port: number;
  /** Connections that were broken on purpose. */
  readonly broken: number;
  /** The time of each, in order; ms of performance.now(). */
  readonly cuts: readonly number[];
  /** Connections that were delayed on purpose. */
  readonly delayed: number;
  /**
   * Milliseconds of the longest delay of which a part was in this span of time
   * (ms of performance.now()); 0 if there was none.
   */
  longestDelayDuring(from: number, to: number): number;
  /** No faults from now on. */
  calm(): void;
  close(): Promise<void>;
}

type Harm = { readonly kind: "reset" | "stall" | "slow"; readonly afterBytes: number };

/** Milliseconds for which a stalled connection stands still. */
const stallMs = 1500;
/** Milliseconds for which a slow one is slow. */
const slowMs = 2000;

export async function startFaultProxy(options: {
  target: number;
  random: () => number;
  rate: number;
}): Promise<FaultProxy> {
  const { target, random } = options;
  let { rate } = options;
  let delayed = 0;
  const cuts: number[] = [];
  const delays: { from: number; to: number }[] = [];
  const open = new Set<Socket>();

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const harm = random() < rate ? chooseHarm(random) : undefined;
    const upstream = connect({
      host: "127.0.0.1",
      port: target,
      allowHalfOpen: true,
      noDelay: true,
    });
    let seen = 0;
    let harmed = false;
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("close", () => open.delete(socket));
    }
    const relay = (from: Socket, to: Socket): void => {
      from.on("data", (bytes: Buffer) => {
        seen += bytes.length;
        if (!to.write(bytes)) {
          from.pause();
          to.once("drain", () => from.resume());
        }
        if (harm !== undefined && !harmed && seen >= harm.afterBytes) {
          harmed = true;
          hurt(harm, client, upstream);
        }
      });
      from.on("end", () => to.end());
      from.on("error", () => to.resetAndDestroy());
    };
    relay(client, upstream);
    relay(upstream, client);
    if (harm?.afterBytes === 0) {
      harmed = true;
      hurt(harm, client, upstream);
    }
  });

  function hurt({ kind }: Harm, client: Socket, upstream: Socket): void {
    if (kind === "reset") {
      cuts.push(performance.now());
      client.resetAndDestroy();
      upstream.resetAndDestroy();
      return;
    }
    delayed += 1;
    const from = performance.now();
    const lasts = kind === "stall" ? stallMs : slowMs;
    delays.push({ from, to: from + lasts });
    client.pause();
    upstream.pause();
    if (kind === "stall") {
      setTimeout(() => [client, upstream].map((socket) => socket.resume()), stallMs);
      return;
    }
    // Slow: open for a moment every 50 ms.
    const timer = setInterval(() => {
      for (const socket of [client, upstream]) {
        socket.resume();
        setTimeout(() => performance.now() < from + slowMs && socket.pause(), 2);
      }
      if (performance.now() >= from + slowMs) {
        clearInterval(timer);
        client.resume();
        upstream.resume();
      }
    }, 50);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    get broken() {
      return cuts.length;
    },
    cuts,
    get delayed() {
      return delayed;
    },
    longestDelayDuring: (from, to) =>
      delays
        .filter((delay) => delay.from <= to && delay.to >= from)
        .reduce((longest, delay) => Math.max(longest, delay.to - delay.from), 0),
    calm() {
      rate = 0;
    },
    close() {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/**
 * A handshake with client certificate is some 4 KB both ways, the header some
 * 100 bytes; the rest is stream.
 */
function chooseHarm(random: () => number): Harm {
  const stage = random();
  const afterBytes =
    stage < 0.1
      ? 0
      : stage < 0.3
        ? Math.floor(random() * 4500)
        : Math.floor(4500 + random() ** 3 * 2_000_000);
  const kind = random() < 0.5 ? "reset" : random() < 0.6 ? "stall" : "slow";
  return { kind, afterBytes };
}
