/** What the public suffix list says about names. */
export interface Suffixes {
  /** Whether a name is a public suffix, such as `com` or `github.io`. */
  readonly isSuffix: (name: string) => boolean;
  /** Whether a name is one of ICANN's, such as `com`, and not `github.io`. */
  readonly isDomain: (name: string) => boolean;
  /** Whether a name is below a domain in which people register names. */
  readonly isPublic: (name: string) => boolean;
}

/**
 * The list is loaded when it is first needed: it takes some megabytes of
 * memory, and most starts find only names that they know.
 */
export async function loadSuffixes(): Promise<Suffixes> {
  const { parse } = await import("tldts");
  return {
    isSuffix(name) {
      const { publicSuffix, isIcann, isPrivate } = parse(name, ofAll);
      return publicSuffix === name && (isIcann === true || isPrivate === true);
    },
    isDomain(name) {
      const { publicSuffix, isIcann } = parse(name, whole);
      return publicSuffix === name && isIcann === true;
    },
    isPublic: (name) => parse(name, whole).isIcann === true,
  };
}

/** The names are no URLs, in which a host name would have to be found. */
const whole = { extractHostname: false };
const ofAll = { ...whole, allowPrivateDomains: true };

/** For names that are all private. */
export const noSuffixes: Suffixes = {
  isSuffix: () => false,
  isDomain: () => false,
  isPublic: () => false,
};

/** What the list says about these names; it is loaded if one may be on it. */
export const suffixesFor = async (names: readonly string[]): Promise<Suffixes> =>
  names.every((name) => isPrivate(`.${name}`)) ? noSuffixes : await loadSuffixes();

/**
 * Whether a name is below a domain that is never public: those of RFC 6761, and
 * those that ICANN has promised not to delegate. No list is needed for it.
 */
export const isPrivate = (name: string): boolean =>
  /\.(?:internal|test|example|invalid|local|home|corp|mail)$/.test(name);
