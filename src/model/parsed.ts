/** What a parser at the border answers: a value that proves itself, or the reason why there is none. */
export type Parsed<T> = { ok: true; value: T } | { ok: false; reason: string };

export const parsed = <T>(value: T): Parsed<T> => ({ ok: true, value });
export const unparsed = (reason: string): Parsed<never> => ({ ok: false, reason });

/** A value from outside made fit for one line of a message: quoted, control characters escaped, at most 80 characters. */
export function quote(text: string): string {
  const short = text.length > 80 ? `${text.slice(0, 77)}...` : text;
  return JSON.stringify(short).replaceAll("\u007f", "\\u007f");
}
