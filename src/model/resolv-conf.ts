/** The parts of resolv.conf that say how a name is looked up. */
export interface ResolvConf {
  readonly servers: readonly string[];
  /** The domains that complete short names. */
  readonly search: readonly string[];
}

/** Pure: reads the text of resolv.conf. The last search list counts. */
export function readResolvConf(text: string): ResolvConf {
  const servers = [...text.matchAll(/^[ \t]*nameserver[ \t]+([^\s#;]+)/gm)].map(
    ([, address = ""]) => address,
  );
  const lines = text.match(/^[ \t]*(?:search|domain)[ \t][^\n]*/gm) ?? [];
  const [, ...domains] = (lines.at(-1) ?? "").trim().split(/\s+/);
  const search = domains.filter((domain) => domain !== "." && !/^[#;]/.test(domain));
  return { servers: [...new Set(servers)].slice(0, 3), search };
}
