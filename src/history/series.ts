import type { Tally } from "./tally.ts";

type Counts = Omit<Tally, "active" | "stirred">;

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
  note(second: number, tallies: Iterable<Counts>): void;
  /**
   * Calls `visit` for the rows from this second on, the newest first. There may
   * be 200,000: the row is the same object each time.
   */
  since(second: number, visit: (row: Row) => void): void;
  /** The rows so far; each has a number, from 0 on. */
  readonly count: number;
  /**
   * Calls `visit` for the rows from this number on that are still kept, the
   * oldest first. The row is the same object each time.
   */
  from(number: number, visit: (row: Row) => void): void;
  /**
   * The first second that is complete: those before may have lost rows to newer
   * ones.
   */
  readonly completeFrom: number;
  /** The seconds before this one are not complete. */
  lack(second: number): void;
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
  const row = { endpoint: "", second: 0, up: 0, down: 0, opened: 0, ended: 0, failed: 0 };

  return {
    note(second, tallies) {
      for (const { endpoint, up, down, opened, ended, failed } of tallies) {
        if (count >= size) makeRoom();
        const place = count % size;
        endpoints[place] = endpoint;
        const at = place * columns;
        numbers[at] = second;
        numbers[at + 1] = up;
        numbers[at + 2] = down;
        numbers[at + 3] = opened;
        numbers[at + 4] = ended;
        numbers[at + 5] = failed;
        count += 1;
      }
    },
    since(second, visit) {
      for (let i = count - 1; i >= Math.max(0, count - size); i -= 1) {
        readInto(row, i % size);
        if (row.second < second) return;
        visit(row);
      }
    },
    get count() {
      return count;
    },
    from(number, visit) {
      for (let i = Math.max(number, count - size, 0); i < count; i += 1) {
        readInto(row, i % size);
        visit(row);
      }
    },
    get completeFrom() {
      return completeFrom;
    },
    lack(second) {
      completeFrom = Math.max(completeFrom, second);
    },
  };

  /** Before the ring is full, its rows are in order from its first place. */
  function makeRoom(): void {
    if (size === most) {
      completeFrom = (numbers[(count % size) * columns] ?? 0) + 1;
      return;
    }
    const larger = Math.min(most, size * 2);
    const copy = new Float64Array(larger * columns);
    copy.set(numbers);
    endpoints = [...endpoints];
    numbers = copy;
    size = larger;
  }

  function readInto(row: Writable<Row>, place: number): void {
    const at = place * columns;
    row.endpoint = endpoints[place] ?? "";
    row.second = numbers[at] ?? 0;
    row.up = numbers[at + 1] ?? 0;
    row.down = numbers[at + 2] ?? 0;
    row.opened = numbers[at + 3] ?? 0;
    row.ended = numbers[at + 4] ?? 0;
    row.failed = numbers[at + 5] ?? 0;
  }
}

type Writable<T> = { -readonly [K in keyof T]: T[K] };
