import { isIP } from "node:net";
import type { ListItem } from "../desk/reply-schemas.ts";
import { type Finding, warning } from "./finding.ts";

/**
 * Pure: what a connection to the bare address of an endpoint lacks. ngrokd
 * carries bytes unchanged, so it does not add the name. Undefined for a
 * question about a name, and if the protocol has no names.
 */
export function judgeAddress(
  { host }: { readonly host: string },
  { hostname: name, port, proto }: ListItem,
): Finding | undefined {
  if (isIP(host) === 0) return undefined;
  const ip = isIP(host) === 6 ? `[${host}]` : host;
  if (proto === "tls") {
    const fix = "use the name, or give it to the program as the server's name";
    return warning("name", `a TLS connection to ${ip} does not name "${name}" (SNI)`, fix);
  }
  if (proto !== "http" && proto !== "https") return undefined;
  const tls = proto === "https" ? "; TLS does not name it either (SNI)" : "";
  const text = `a request to ${ip} has the address as its Host, and not "${name}"${tls}`;
  const url = `${proto}://${name}${port === (tls === "" ? 80 : 443) ? "" : `:${port}`}/`;
  const curl = `\`curl --resolve ${name}:${port}:${ip} ${url}\``;
  return warning("name", text, `use the name; if that is impossible, ${curl}`);
}
