import { type HostPort, hostPortText, parseHostPort } from "./host-port.ts";
import { ipToNumber, isIpv6, isSameIpv6, parseIp, rangeHas } from "./ip.ts";
import { type Parsed, parsed, unparsed } from "./parsed.ts";

/**
 * A proxy for TCP connections, with HTTP CONNECT (RFC 9110, section 9.3.6) or
 * SOCKS5 (RFC 1928). It resolves the names.
 */
export interface ProxyServer extends HostPort {
  readonly kind: "http" | "socks5";
  readonly credentials?: { readonly username: string; readonly password: string };
}

/** Which connections go through which proxy. */
export interface ProxyRules {
  readonly proxy: ProxyServer | undefined;
  /** The proxy comes from a variable for all programs, not from our file. */
  readonly fromEnvironment: boolean;
  /** The variable NO_PROXY, for {@link exempt}. */
  readonly noProxy: string;
  /**
   * HTTP_PROXY is set. ngrokd ignores it, but the fetch of the runtime would
   * send plain http through it, with all headers.
   */
  readonly httpProxy?: boolean;
}

/**
 * Parses `http://proxy:3128`, `socks5://user:pass%40word@proxy` (socks5h means
 * the same), or `proxy:3128` as HTTP. The default ports are 80 and 1080. The
 * reason never quotes the text, since it may contain a password.
 */
export function parseProxyUrl(text: string): Parsed<ProxyServer> {
  const url = URL.parse(text.includes("://") ? text.trim() : `http://${text.trim()}`);
  if (url === null) return unparsed("it is not a URL");
  const scheme = url.protocol.slice(0, -1);
  if (scheme === "https")
    return unparsed(
      "https proxies (TLS to the proxy itself) are not supported, only http and socks5 ones",
    );
  const kind = scheme === "socks5h" ? "socks5" : scheme;
  if (kind !== "http" && kind !== "socks5")
    return unparsed(
      `a proxy of the kind "${scheme.slice(0, 20)}" is not supported, only http and socks5`,
    );
  if (!/^\/?$/.test(url.pathname) || `${url.search}${url.hash}` !== "")
    return unparsed("there is text after its host and port");
  const place = parseHostPort(
    url.port === "" ? url.hostname : url.host,
    kind === "http" ? 80 : 1080,
  );
  if (!place.ok) return unparsed("its host or port is not one");
  const credentials = credentialsOf(url, kind);
  if (!credentials.ok) return credentials;
  return parsed({
    kind,
    ...place.value,
    ...(credentials.value === undefined ? {} : { credentials: credentials.value }),
  });
}

/** `http://proxy:3128`, for people and logs, without credentials. */
export const proxyText = (proxy: ProxyServer): string =>
  `${proxy.kind}://${proxy.credentials === undefined ? "" : "[redacted]@"}${hostPortText(proxy)}`;

/**
 * The complete URL, the inverse of {@link parseProxyUrl}. It is a secret if
 * there is a password.
 */
export function proxyUrl(proxy: ProxyServer): string {
  const { username = "", password = "" } = proxy.credentials ?? {};
  const user =
    proxy.credentials === undefined
      ? ""
      : `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`;
  return `${proxy.kind}://${user}${hostPortText(proxy)}`;
}

/** The password in each of its encodings; none of them may reach a log. */
export function proxySecrets({ credentials }: ProxyServer): string[] {
  if (credentials === undefined || credentials.password === "") return [];
  return [
    credentials.password,
    encodeURIComponent(credentials.password),
    basicCredentials(credentials),
  ];
}

/** The credentials of the HTTP Basic scheme (RFC 7617), in UTF-8. */
export function basicCredentials({
  username,
  password,
}: NonNullable<ProxyServer["credentials"]>): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(`${username}:${password}`)));
}

/**
 * Pure: the proxy for connections to `target`; undefined if they are direct. As
 * in Go, loopback addresses are never reached through a proxy from the
 * environment.
 */
export function proxyFor(
  target: HostPort,
  { proxy, fromEnvironment, noProxy }: ProxyRules,
): ProxyServer | undefined {
  if (
    proxy === undefined ||
    (fromEnvironment && isLoopback(target.host)) ||
    exempt(target, noProxy)
  )
    return undefined;
  return proxy;
}

/**
 * Pure: the proxy for requests to a URL. Plain http is only for servers on this
 * machine, and uses no proxy.
 */
export function proxyForUrl(
  { protocol, hostname, port }: URL,
  rules: ProxyRules,
): ProxyServer | undefined {
  if (protocol !== "https:") return undefined;
  const host = hostname.replaceAll(/^\[|\]$/g, "");
  return proxyFor({ host, port: Number(port || 443) }, rules);
}

/** The proxies as {@link proxyText}; empty for a direct connection. */
export interface ProxyWays {
  readonly api: string;
  readonly ingress: string;
}

/** Pure: the proxies for the API's URL and for `host:port` of the ingress. */
export function proxyWays(apiUrl: string, ingress: string, rules: ProxyRules): ProxyWays {
  const text = (proxy: ProxyServer | undefined): string =>
    proxy === undefined ? "" : proxyText(proxy);
  const place = parseHostPort(ingress, 443);
  return {
    api: text(proxyForUrl(new URL(apiUrl), rules)),
    ingress: text(place.ok ? proxyFor(place.value, rules) : undefined),
  };
}

/**
 * Pure: whether NO_PROXY names `target`, by the rules of Go
 * (golang.org/x/net/http/httpproxy). Commas or spaces separate the entries. An
 * entry is `*` for everything, an IP address, a CIDR range or a domain.
 * `example.com` includes its subdomains; `.example.com` and `*.example.com` are
 * the subdomains only. Each entry except a range may have a `:port`, and then
 * names that port only. An entry that cannot be parsed names nothing.
 */
export function exempt({ host, port }: HostPort, noProxy: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, "");
  return noProxy
    .split(/[\s,]+/)
    .some(
      (entry) =>
        entry !== "" &&
        (entry === "*" || rangeHas(entry, name) || isNamed(name, port, entry.toLowerCase())),
    );
}

function isNamed(host: string, port: number, entry: string): boolean {
  const [, v6, name = "", portText] =
    /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(isIpv6(entry) ? `[${entry}]` : entry) ?? [];
  if (portText !== undefined && Number(portText) !== port) return false;
  if (v6 !== undefined) return isSameIpv6(v6, host);
  const domain = name.replace(/^\*(?=\.)/, "").replace(/\.$/, "");
  if (domain === "" || parseIp(host).ok || isIpv6(host)) return domain === host;
  return domain.startsWith(".")
    ? host.endsWith(domain)
    : host === domain || host.endsWith(`.${domain}`);
}

export function isLoopback(host: string): boolean {
  const ip = parseIp(host);
  if (ip.ok) return ipToNumber(ip.value) >>> 24 === 127;
  return isSameIpv6(host, "::1") || /^(?:.+\.)?localhost\.?$/i.test(host);
}

function credentialsOf(url: URL, kind: ProxyServer["kind"]): Parsed<ProxyServer["credentials"]> {
  if (url.username === "" && url.password === "") return parsed(undefined);
  let credentials: { username: string; password: string };
  try {
    credentials = {
      username: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
    };
  } catch {
    return unparsed(
      "its user name or password has a % without a valid code after it; write it as %25",
    );
  }
  const { username, password } = credentials;
  // RFC 7617, section 2.
  if (kind === "http" && username.includes(":"))
    return unparsed("its user name has a colon, which HTTP does not allow");
  const longest = Math.max(
    ...[username, password].map((text) => new TextEncoder().encode(text).length),
  );
  // RFC 1929, section 2.
  if (kind === "socks5" && (longest > 255 || username === ""))
    return unparsed("SOCKS5 needs a user name, and takes 255 bytes of it and of the password");
  return parsed(credentials);
}
