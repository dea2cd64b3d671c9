import { type Parsed, parsed, unparsed } from "./parsed.ts";

declare const brand: unique symbol;
/**
 * An ngrok API key that fits an HTTP header: 8 to 512 printable ASCII
 * characters without spaces (real keys have about 50). Only ngrok knows whether
 * it is valid. It is a secret, so it never appears in a message, a log or a
 * command line. Only {@link parseApiKey} makes one.
 */
export type ApiKey = string & { readonly [brand]: "ApiKey" };

/**
 * Parses a key. White space around it is dropped, since users paste it. The
 * reason never quotes the text.
 */
export function parseApiKey(text: string): Parsed<ApiKey> {
  const key = text.trim();
  if (key === "") return unparsed("the API key is empty");
  if (key.length < 8)
    return unparsed(`the API key has ${key.length} characters, and no real one is shorter than 8`);
  if (key.length > 512)
    return unparsed(`the API key has ${key.length} characters, and no real one is longer than 512`);
  if (!/^[\x21-\x7e]+$/.test(key))
    return unparsed("the API key has a space, a line break or a character that is not plain ASCII");
  return parsed(key as ApiKey);
}
