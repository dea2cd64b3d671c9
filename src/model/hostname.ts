import { type Parsed, parsed, quote, unparsed } from "./parsed.ts";

declare const brand: unique symbol;
/**
 * A DNS host name that is safe in a hosts file: lower case, no trailing dot, 1
 * to 253 characters, labels of 1 to 63 letters, digits, hyphens and underscores
 * that neither start nor end with a hyphen. It is never an IP address. Only
 * {@link parseHostname} makes one.
 */
export type Hostname = string & { readonly [brand]: "Hostname" };

export function parseHostname(text: string): Parsed<Hostname> {
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  if (name === "") return unparsed("the host name is empty");
  if (name.length > 253)
    return unparsed(`the host name is ${name.length} characters long, and 253 are allowed`);
  const labels = name.split(".");
  for (const label of labels) {
    if (label === "") return unparsed(`the host name ${quote(text)} has an empty label`);
    if (label.length > 63)
      return unparsed(`a label of the host name ${quote(text)} is longer than 63 characters`);
    if (!/^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?$/i.test(label)) {
      return unparsed(
        `the host name ${quote(text)} has a character that is not allowed in names, or a hyphen at a label's end`,
      );
    }
  }
  // If the last label is a number (digits or 0x…), a resolver takes the name
  // for an address.
  if (/^(?:\d+|0x[0-9a-f]*)$/i.test(labels.at(-1) ?? ""))
    return unparsed(`the host name ${quote(text)} reads as an IP address`);
  return parsed(name.toLowerCase() as Hostname);
}
