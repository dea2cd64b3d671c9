/** The parts of resolv.conf that say how a name is looked up. */
export interface ResolvConf {
  readonly servers: readonly string[];
  /** The domains that complete short names. */
  readonly search: readonly string[];
}

/** Pure: the servers in the text of resolv.conf, each once, in their order. */
export function serversIn(text: string): string[] {
  const lines = text.matchAll(/^[ \t]*nameserver[ \t]+([^\s#;]+)/gm);
  return [...new Set([...lines].map(([, address = ""]) => address))];
}

/**
 * Pure: reads the text of resolv.conf. The C library asks the first three
 * servers, and the last search list counts.
 */
export function readResolvConf(text: string): ResolvConf {
  const lines = text.match(/^[ \t]*(?:search|domain)[ \t][^\n]*/gm) ?? [];
  const [, ...domains] = (lines.at(-1) ?? "").trim().split(/\s+/);
  const search = domains.filter((domain) => domain !== "." && !/^[#;]/.test(domain));
  return { servers: serversIn(text).slice(0, 3), search };
}
