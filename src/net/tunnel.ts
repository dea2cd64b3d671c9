/**
 * The client side of proxies: HTTP CONNECT (RFC 9110, section 9.3.6) and SOCKS5
 * (RFC 1928, with user name and password as in RFC 1929). The proxy gets the
 * target's name and resolves it.
 */
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import { ipv6Bytes, isIpv6, parseIp } from "../model/ip.ts";
import { quote } from "../model/parsed.ts";
import { basicCredentials, type ProxyServer, proxyText } from "../model/proxy.ts";
import type { Conn } from "./types.ts";

/**
 * Asks the proxy at the other end of `conn` for `target`. From then on the
 * connection is the target's. Returns the bytes of the target that have arrived
 * already, mostly none. Rejects with NgrokdError `network`, which names the
 * proxy; the connection is the caller's to abort.
 */
export async function openTunnel(
  conn: Conn,
  proxy: ProxyServer,
  target: HostPort,
): Promise<Uint8Array> {
  const reader = createReader(conn);
  try {
    if (proxy.kind === "http") await connect(conn, reader, proxy, target);
    else await socks(conn, reader, proxy, target);
  } catch (error) {
    throw tunnelFailed(proxy, target, error);
  }
  return reader.rest();
}

/** Any failure on the way through a proxy, with the proxy's name. */
export function tunnelFailed(proxy: ProxyServer, target: HostPort, cause: unknown): NgrokdError {
  const code =
    cause instanceof NgrokdError && cause.code !== "aborted" && cause.code !== "protocol"
      ? cause.code
      : "network";
  const hint = cause instanceof NgrokdError ? cause.hint : undefined;
  const details = {
    ...(cause instanceof NgrokdError ? cause.details : {}),
    proxy: proxyText(proxy),
  };
  const message = `Cannot connect to "${hostPortText(target)}" through the proxy "${proxyText(proxy)}": ${reasonOf(cause)}`;
  return new NgrokdError(code, message, {
    cause,
    details,
    ...(hint === undefined ? {} : { hint }),
  });
}

async function connect(
  conn: Conn,
  reader: Reader,
  { credentials }: ProxyServer,
  target: HostPort,
): Promise<void> {
  const place = hostPortText(target);
  const login =
    credentials === undefined
      ? ""
      : `Proxy-Authorization: Basic ${basicCredentials(credentials)}\r\n`;
  await conn.write(
    new TextEncoder().encode(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n${login}\r\n`),
  );
  const { status, reason } = await finalAnswer(reader);
  if (status.startsWith("2")) return;
  const said = `it answered ${`${status} ${reason === "" ? "" : quote(reason)}`.trim()}`;
  if (status === "407")
    throw refused(said, credentials === undefined ? nameCredentials : checkCredentials, {
      status: 407,
    });
  const hint =
    status === "403" || status === "405"
      ? "the proxy must allow CONNECT to this host and port"
      : "the proxy cannot reach the host; its log may say why";
  throw refused(said, hint, { status: Number(status) });
}

/** Answers such as 100 Continue may come first (RFC 9110, section 15.2). */
async function finalAnswer(reader: Reader): Promise<{ status: string; reason: string }> {
  for (let interim = 0; interim < interimLimit; interim++) {
    const [, status = "", reason = ""] =
      /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n]*))?\r?\n/.exec(await reader.head()) ?? [];
    if (status === "") throw nonsense("something that is not HTTP");
    if (!status.startsWith("1") || status === "101") return { status, reason };
  }
  throw nonsense("one 1xx answer after the other");
}

async function socks(
  conn: Conn,
  reader: Reader,
  { credentials }: ProxyServer,
  target: HostPort,
): Promise<void> {
  await conn.write(credentials === undefined ? Uint8Array.of(5, 1, 0) : Uint8Array.of(5, 2, 0, 2));
  const [version, method] = await reader.take(2);
  if (version !== 5) throw nonsense("something that is not SOCKS5");
  if (method === 2 && credentials !== undefined) await logIn(conn, reader, credentials);
  else if (method === 255)
    throw refused(
      "it requires other credentials",
      credentials === undefined ? nameCredentials : checkCredentials,
    );
  else if (method !== 0) throw nonsense("a login method that was not offered");
  await conn.write(
    Uint8Array.of(5, 1, 0, ...addressBytes(target.host), target.port >> 8, target.port & 255),
  );
  const [replied, reply = 0, , type = 0] = await reader.take(4);
  if (replied !== 5) throw nonsense("something that is not SOCKS5");
  if (reply !== 0)
    throw refused(
      `it answered "${replies[reply] ?? `error ${reply}`}"`,
      reply === 2 ? "the proxy must allow connections to this host and port" : undefined,
    );
  // The address on the proxy's far side is of no use here.
  const length = { 1: 4, 3: 1, 4: 16 }[type];
  if (length === undefined) throw nonsense("an address of an unknown kind");
  const [named = 0] = await reader.take(length);
  await reader.take((type === 3 ? named : 0) + 2);
}

async function logIn(
  conn: Conn,
  reader: Reader,
  { username, password }: NonNullable<ProxyServer["credentials"]>,
): Promise<void> {
  const [name, word] = [username, password].map((text) => new TextEncoder().encode(text)) as [
    Uint8Array,
    Uint8Array,
  ];
  await conn.write(Uint8Array.of(1, name.length, ...name, word.length, ...word));
  const [, status] = await reader.take(2);
  if (status !== 0) throw refused("it refused the user name or the password", checkCredentials);
}

/** Kind, and address or name (RFC 1928, section 5). */
function addressBytes(host: string): number[] {
  if (parseIp(host).ok) return [1, ...host.split(".").map(Number)];
  if (isIpv6(host)) return [4, ...ipv6Bytes(host)];
  const name = new TextEncoder().encode(host);
  return [3, name.length, ...name];
}

const replies: Readonly<Record<number, string>> = {
  1: "general failure",
  2: "not allowed by the rules",
  3: "network unreachable",
  4: "host unreachable",
  5: "connection refused",
  6: "time to live expired",
  7: "command not supported",
  8: "address type not supported",
};

const nameCredentials =
  "add a user name and a password to the proxy's URL, as in http://user:password@host:port";
const checkCredentials =
  "are the user name and the password in the proxy's URL right? Characters such as @ and : are written as %40 and %3A";

const nonsense = (what: string): NgrokdError =>
  new NgrokdError("protocol", `it answered with ${what}`, {
    hint: "is this the right port, and the right kind of proxy (http or socks5)?",
  });

const refused = (
  what: string,
  hint: string | undefined,
  details: Record<string, unknown> = {},
): NgrokdError =>
  new NgrokdError("network", what, { details, ...(hint === undefined ? {} : { hint }) });

/** In bytes; far more than any proxy sends. */
const headLimit = 16 * 1024;

const interimLimit = 16;

interface Reader {
  /** Exactly this many bytes. */
  take(size: number): Promise<Uint8Array>;
  /** Everything up to and with the first empty line. */
  head(): Promise<string>;
  /** The bytes after that. */
  rest(): Uint8Array;
}

function createReader(conn: Conn): Reader {
  let waiting = Buffer.alloc(0);
  const more = async (): Promise<void> => {
    const bytes = await conn.read();
    if (bytes === null)
      throw new NgrokdError("network", "it closed the connection before its answer");
    waiting = Buffer.concat([waiting, bytes]);
  };
  const cut = (size: number): Buffer => {
    const part = waiting.subarray(0, size);
    waiting = waiting.subarray(size);
    return part;
  };
  return {
    async take(size) {
      while (waiting.length < size) await more();
      return cut(size);
    },
    async head() {
      for (;;) {
        const end = /\r?\n\r?\n/.exec(waiting.toString("latin1", 0, headLimit));
        if (end !== null) return cut(end.index + end[0].length).toString("latin1");
        if (waiting.length >= headLimit)
          throw nonsense(`more than ${headLimit} bytes without an end`);
        await more();
      }
    },
    rest: () => waiting,
  };
}
