/** The result of a parser: a valid value, or the reason for its rejection. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; reason: string };

export const parsed = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const unparsed = (reason: string): Parsed<never> => ({ ok: false, reason });

/**
 * A value from outside for one line of a message: quoted, and cut to 80
 * characters. Characters that break a line, move the cursor of a terminal or
 * change the direction of writing are escaped.
 */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

/** A value from outside, quoted unless it is short printable ASCII. */
export const readable = (text: string): string =>
  /^[\x20-\x7e]{1,200}$/.test(text) ? text : quote(text);

const escaped = (character: string): string =>
  character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");

/**
 * The text with each character that changes the direction of writing, and each
 * control character that JSON leaves as it is, as its escape. Inside JSON it is
 * the same value.
 */
export const leftToRight = (text: string): string =>
  text.replaceAll(/[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, escaped);

/**
 * The text for people. Text of strangers can neither move the cursor nor turn
 * the direction of writing. Line ends and tabs stay.
 */
export const printable = (text: string): string =>
  leftToRight(text).replaceAll(/[\x00-\x08\x0b-\x1f]/g, escaped);
