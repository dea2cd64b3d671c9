/**
 * What a parser at the border answers: a value that proves itself, or the
 * reason why there is none.
 */
export type Parsed<T> = { ok: true; value: T } | { ok: false; reason: string };

export const parsed = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const unparsed = (reason: string): Parsed<never> => ({ ok: false, reason });

/**
 * A value from outside made fit for one line of a message: quoted, at most 80
 * of its characters, and everything escaped that breaks a line, moves a
 * terminal's cursor or turns the direction of writing.
 */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escaped);
}

/**
 * A value from outside as it is where that is harmless and short enough to
 * read, quoted otherwise.
 */
export const readable = (text: string): string =>
  /^[\x20-\x7e]{1,200}$/.test(text) ? text : quote(text);

const escaped = (character: string): string =>
  character
    .split("")
    .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
    .join("");
