/**
 * Pure: whether a list lacks so much of what is served that it must be seen
 * twice before any endpoint is retired: one glitch of the API must not cut
 * every service. True for a list that is suddenly empty, and for one that lacks
 * at least three bindings and more than half of them. Both by the key of the
 * binding.
 */
export function isSuspiciouslyShort(
  served: readonly string[],
  listed: ReadonlySet<string>,
): boolean {
  if (served.length === 0) return false;
  const lost = served.filter((key) => !listed.has(key)).length;
  return listed.size === 0 || (lost >= 3 && lost * 2 > served.length);
}
