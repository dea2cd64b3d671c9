/**
 * Whether a name is a public suffix, such as `com` or `github.io`. The list is
 * loaded when it is first needed: it takes some megabytes of memory, and most
 * starts find only names that they know.
 */
export async function loadSuffixes(): Promise<(name: string) => boolean> {
  const { parse } = await import("tldts");
  return (name) => {
    const { publicSuffix, isIcann, isPrivate } = parse(name, { allowPrivateDomains: true });
    return publicSuffix === name && (isIcann === true || isPrivate === true);
  };
}

/**
 * Whether a name is below a domain that is never public: those of RFC 6761, and
 * those that ICANN has promised not to delegate. No list is needed for it.
 */
export const isPrivate = (name: string): boolean =>
  /\.(?:internal|test|example|invalid|local|home|corp|mail)$/.test(name);
