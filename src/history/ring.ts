/** The last values of a sequence, each with its number. It grows on demand. */
export interface Ring<T> {
  /** Returns the number of the value, from 1 on. */
  push(value: T): number;
  /** The number of the newest value; 0 before the first. */
  readonly last: number;
  /** The number of the oldest value that is still there. */
  readonly first: number;
  /** Undefined if the value is no longer or not yet there. */
  at(number: number): T | undefined;
}

export function createRing<T>(most: number): Ring<T> {
  const values: T[] = [];
  let last = 0;
  const first = (): number => Math.max(1, last - most + 1);
  return {
    push(value) {
      values[last % most] = value;
      last += 1;
      return last;
    },
    get last() {
      return last;
    },
    get first() {
      return first();
    },
    at: (number) => (number >= first() && number <= last ? values[(number - 1) % most] : undefined),
  };
}
