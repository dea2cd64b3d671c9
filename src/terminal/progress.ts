import { printable } from "../model/parsed.ts";
import type { Output } from "./output.ts";

/** The line on a terminal that names what the command waits for. */
export interface Progress {
  awaiting<T>(what: string, work: () => Promise<T>): Promise<T>;
  /** Nothing is shown from now on. */
  end(): void;
  /** The same output, but the line is erased before each text. */
  before(output: Output): Output;
}

/** Work that is over sooner shows no line. */
const patienceMs = 1000;
const eraseLine = "\r\u001b[K";

/** Without a terminal nothing is shown. */
export function createProgress(
  terminal: Output | undefined,
  dim: (text: string) => string,
): Progress {
  /** What is awaited, the innermost last. */
  const awaited: { readonly what: string; readonly since: number }[] = [];
  let timer: ReturnType<typeof setInterval> | undefined;
  let shown: (typeof awaited)[number] | undefined;
  let ended = false;

  const erase = (): void => {
    if (shown !== undefined) terminal?.write(eraseLine);
    shown = undefined;
  };
  const show = (): void => {
    const now = performance.now();
    // A short question in between does not take the line.
    const last = awaited.findLast(({ since }) => now - since >= patienceMs);
    erase();
    if (last === undefined || terminal === undefined || ended) return;
    const seconds = Math.floor((now - last.since) / 1000);
    const columns = (terminal.columns ?? 80) - 1;
    terminal.write(dim(`${last.what} … ${seconds} s`.slice(0, columns)));
    shown = last;
  };
  return {
    async awaiting(what, work) {
      if (terminal === undefined) return await work();
      const one = { what: printable(what), since: performance.now() };
      awaited.push(one);
      timer ??= setInterval(show, patienceMs);
      try {
        return await work();
      } finally {
        awaited.splice(awaited.indexOf(one), 1);
        if (shown === one) erase();
        if (awaited.length === 0) {
          clearInterval(timer);
          timer = undefined;
        }
      }
    },
    end() {
      erase();
      ended = true;
    },
    before: (output) => ({
      write(text) {
        erase();
        output.write(text);
      },
      ...(output.feed && {
        feed(text: string) {
          erase();
          output.feed?.(text);
        },
      }),
      isTerminal: output.isTerminal,
      get columns() {
        return output.columns;
      },
      get rows() {
        return output.rows;
      },
    }),
  };
}
