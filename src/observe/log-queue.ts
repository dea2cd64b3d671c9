/** A stream as the queue uses it: `done` is called when the text has left. */
export interface LogStream {
  write(text: string, done: () => void): unknown;
}

/**
 * Writes lines to a stream whose reader may be stuck, such as a pipe. Lines
 * that would make more than `limit` characters wait are lost. Once all others
 * have left, `onLost` is told of their number.
 */
export function createLogQueue(
  stream: LogStream,
  onLost: (lines: number) => void,
  limit = 262_144,
): (line: string) => void {
  let [waiting, lost] = [0, 0];
  return (line) => {
    if (waiting > 0 && waiting + line.length > limit) {
      lost += 1;
      return;
    }
    waiting += line.length;
    stream.write(line, () => {
      waiting -= line.length;
      if (waiting > 0 || lost === 0) return;
      const number = lost;
      lost = 0;
      onLost(number);
    });
  };
}

export const lostText = (lines: number): string =>
  `${lines} ${lines === 1 ? "line" : "lines"} of this log were lost: its reader did not read`;
