import type { Tally } from "./tally.ts";

/** What an endpoint did in one second. */
export interface Row {
  readonly endpoint: string;
  /** Seconds of the steady clock. */
  readonly second: number;
  readonly up: number;
  readonly down: number;
  readonly opened: number;
  readonly ended: number;
  readonly failed: number;
}

/** Traffic by second, for all endpoints in one ring of bounded size. */
export interface Series {
  note(second: number, tallies: Iterable<Tally>): void;
  /** The rows from this second on, the newest first. */
  since(second: number): Iterable<Row>;
  /**
   * The first second that is complete: those before may have lost rows to newer
   * ones.
   */
  readonly completeFrom: number;
}

const columns = 6;

/**
 * Numbers are kept in one typed array of 48 bytes a row, which doubles until it
 * has `most` rows. An endpoint without traffic costs nothing.
 */
export function createSeries(most = 200_000): Series {
  let size = Math.min(most, 256);
  let numbers = new Float64Array(size * columns);
  let endpoints: string[] = [];
  /** Rows since the start. */
  let count = 0;
  let completeFrom = Number.NEGATIVE_INFINITY;

  return {
    note(second, tallies) {
      for (const { endpoint, up, down, opened, ended, failed } of tallies) {
        if (count >= size) makeRoom();
        const place = count % size;
        endpoints[place] = endpoint;
        numbers.set([second, up, down, opened, ended, failed], place * columns);
        count += 1;
      }
    },
    *since(second) {
      for (let i = count - 1; i >= Math.max(0, count - size); i -= 1) {
        const row = rowAt(i % size);
        if (row.second < second) return;
        yield row;
      }
    },
    get completeFrom() {
      return completeFrom;
    },
  };

  /** Before the ring is full, its rows are in order from its first place. */
  function makeRoom(): void {
    if (size === most) {
      completeFrom = rowAt(count % size).second + 1;
      return;
    }
    const larger = Math.min(most, size * 2);
    const copy = new Float64Array(larger * columns);
    copy.set(numbers);
    endpoints = [...endpoints];
    numbers = copy;
    size = larger;
  }

  function rowAt(place: number): Row {
    const at = place * columns;
    const [second = 0, up = 0, down = 0, opened = 0, ended = 0, failed = 0] = numbers.subarray(
      at,
      at + columns,
    );
    return { endpoint: endpoints[place] ?? "", second, up, down, opened, ended, failed };
  }
}
