/**
 * Pure: whether a text matches a pattern. `*` stands for any characters, dots
 * included; every other character stands for itself. Makes no texts: the rules
 * of access are asked for every connection.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const last = pattern.lastIndexOf("*");
  if (last < 0) return pattern === text;
  const behind = pattern.length - last - 1;
  if (!hasAt(text, text.length - behind, pattern, last + 1, behind)) return false;
  const end = text.length - behind;
  let at = 0;
  for (let from = 0, first = true; from <= last; first = false) {
    const length = pattern.indexOf("*", from) - from;
    while (!hasAt(text, at, pattern, from, length)) {
      at += 1;
      if (first || at + length > end) return false;
    }
    at += length;
    from += length + 1;
  }
  return at <= end;
}

/** Whether `length` characters of a pattern stand at a place in a text. */
function hasAt(text: string, at: number, pattern: string, from: number, length: number): boolean {
  if (at < 0 || at + length > text.length) return false;
  for (let i = 0; i < length; i += 1)
    if (text.charCodeAt(at + i) !== pattern.charCodeAt(from + i)) return false;
  return true;
}
