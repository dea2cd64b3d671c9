/**
 * Pure: the candidate that is nearest to `word`, or undefined if none is near.
 * Near means at most one slip for every three characters, or one slip in a
 * shorter word. Upper and lower case are equal, and so are `_` and `-`.
 */
export function closest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > 64) return undefined;
  const limit = Math.max(1, Math.floor(word.length / 3));
  const ranked = candidates
    .map((candidate) => ({ candidate, slips: slips(plain(word), plain(candidate)) }))
    .filter(({ slips }) => slips <= limit)
    .sort((a, b) => a.slips - b.slips);
  return ranked[0]?.candidate;
}

const plain = (text: string): string => text.toLowerCase().replaceAll("-", "_");

/**
 * Pure: the number of slips from `a` to `b`: letters that were added, left out,
 * changed or swapped with their neighbour (optimal string alignment).
 */
export function slips(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped =
        a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(before, j - 2) + 1 : Infinity;
      row.push(Math.min(changed, swapped, at(last, j) + 1, at(row, j - 1) + 1));
    }
    before = last;
    last = row;
  }
  return at(last, b.length);
}

const at = (row: readonly number[], j: number): number => row[j] ?? Infinity;
