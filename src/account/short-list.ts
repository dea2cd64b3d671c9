/**
 * Pure: whether a list lacks so many served bindings that a second one must
 * confirm it before endpoints are removed. Otherwise one error of the API could
 * cut every service. True for a list that is suddenly empty, and for one that
 * lacks at least three bindings and more than half of them. Both arguments are
 * keys of bindings.
 */
export function isSuspiciouslyShort(
  served: readonly string[],
  listed: ReadonlySet<string>,
): boolean {
  if (served.length === 0) return false;
  const lost = served.filter((key) => !listed.has(key)).length;
  return listed.size === 0 || (lost >= 3 && lost * 2 > served.length);
}
