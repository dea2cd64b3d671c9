import { createHash, randomBytes } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";

/**
 * New connections to an echo at an even rate, each with a line of its own to be
 * hashed, and some that stay open and send one after the other. Writes the
 * counts to /run/load.json twice a second. Words: new ones a second, open ones,
 * the host.
 */
const [rateText = "20", openText = "10", hostname = "echo.demo"] = process.argv.slice(2);
const [rate, open] = [Number(rateText), Number(openText)];
const counts = {
  whole: 0,
  /** Not connected at all. */
  refused: 0,
  /** Connected, and ended without the answer. */
  cut: 0,
  /** An answer that is not the hash: a wrong byte. */
  wrong: 0,
  /** The same of those that stay open, and their answers. */
  longRefused: 0,
  longCut: 0,
  long: 0,
  /** The longest time in ms between two whole ones. */
  gap: 0,
};
let lastWhole = performance.now();
type Outcome = "whole" | "refused" | "cut" | "wrong";

function seenWhole(): void {
  counts.gap = Math.max(counts.gap, Math.round(performance.now() - lastWhole));
  lastWhole = performance.now();
}

/** Sends `rounds` lines over one connection. */
function talk(rounds: number, answered: () => void): Promise<Outcome> {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  let [text, rest, left, isOpen] = ["", "", rounds, false];
  const next = (socket: Bun.Socket): void => {
    text = randomBytes(2000).toString("hex");
    socket.write(`${text}\n`);
  };
  Bun.connect({
    hostname,
    port: 7000,
    socket: {
      open(socket) {
        isOpen = true;
        next(socket);
      },
      data(socket, bytes) {
        rest += bytes.toString();
        if (!rest.endsWith("\n")) return;
        const isRight = rest.trim() === createHash("sha256").update(text).digest("hex");
        rest = "";
        if (!isRight) return end(socket, "wrong");
        answered();
        left -= 1;
        if (left === 0) return end(socket, "whole");
        setTimeout(() => next(socket), 200);
      },
      close: () => resolve(isOpen ? "cut" : "refused"),
      error: () => resolve(isOpen ? "cut" : "refused"),
      connectError: () => resolve("refused"),
    },
  }).catch(() => resolve("refused"));
  const end = (socket: Bun.Socket, outcome: Outcome): void => {
    resolve(outcome);
    socket.end();
  };
  return promise;
}

setInterval(() => {
  void talk(1, () => undefined).then((outcome) => {
    counts[outcome] += 1;
    if (outcome === "whole") seenWhole();
  });
}, 1000 / rate);

async function stayOpen(): Promise<never> {
  for (;;) {
    // Two seconds each: a stop waits for those that are open.
    const outcome = await talk(10, () => {
      counts.long += 1;
    });
    if (outcome === "wrong") counts.wrong += 1;
    if (outcome === "refused") counts.longRefused += 1;
    if (outcome === "cut") counts.longCut += 1;
    await Bun.sleep(100);
  }
}
for (let i = 0; i < open; i += 1) void stayOpen();

setInterval(() => {
  writeFileSync("/run/load.new", JSON.stringify(counts));
  renameSync("/run/load.new", "/run/load.json");
}, 500);
