import { type Parsed, parsed, unparsed } from "./parsed.ts";

declare const brand: unique symbol;
/**
 * An ngrok API key that fits an HTTP header: 8 to 512 printable ASCII
 * characters, no spaces (ngrok's own have about 50). Whether ngrok accepts it
 * is for ngrok to say. A secret: never in a message, a log or a command line.
 * Made only by {@link parseApiKey}.
 */
export type ApiKey = string & { readonly [brand]: "ApiKey" };

/**
 * Reads a key as people paste it: white space around it is dropped. The reason
 * never quotes the text.
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
