/** What is awaited, on a line that disappears. */
export interface Progress {
  /** Returns what `work` settles to. After a second, the line says `what`. */
  during<T>(what: string, work: Promise<T>): Promise<T>;
  /** Takes the line away before something else is written. */
  hide(): void;
}

const patienceMs = 1000;
const everyMs = 1000;
const erase = "\r\u001b[K";

/** `write` is undefined if there is no terminal: nothing is shown then. */
export function createProgress(
  write: ((line: string) => void) | undefined,
  columns: () => number,
): Progress {
  let isShown = false;
  const hide = (): void => {
    if (isShown) write?.(erase);
    isShown = false;
  };
  return {
    hide,
    async during(what, work) {
      if (write === undefined) return await work;
      const start = performance.now();
      const show = (): void => {
        const seconds = Math.round((performance.now() - start) / 1000);
        // The cursor stays in front: what comes next writes over the line.
        write(`${erase}${progressLine(what, seconds, columns())}\r`);
        isShown = true;
      };
      let timer = setTimeout(function again() {
        show();
        timer = setTimeout(again, everyMs);
      }, patienceMs);
      try {
        return await work;
      } finally {
        clearTimeout(timer);
        hide();
      }
    },
  };
}

/** Pure: shorter than the terminal is wide, so that it stays on its line. */
export function progressLine(what: string, seconds: number, columns: number): string {
  const time = ` (${seconds} s)`;
  const text = `Waiting for ${what}`;
  const room = columns - time.length - 1;
  return (text.length <= room ? text : `${text.slice(0, Math.max(0, room - 3))}...`) + time;
}
