import stringWidth from "string-width";
import wrapAnsi from "wrap-ansi";

/*
 * Texts in columns of a terminal: a CJK character or an emoji takes two
 * columns, a combining mark and a colour none.
 */

/** The columns of one line. */
export const widthOf = (text: string): number => stringWidth(text);

/** The text with spaces behind it, up to `width` columns; never cut. */
export const padded = (text: string, width: number): string =>
  text + " ".repeat(Math.max(0, width - widthOf(text)));

/** The text in at most `width` columns; `...` replaces an end that is cut. */
export function fitted(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let head = "";
  let room = width - ellipsis.length;
  for (const { segment } of graphemes.segment(text)) {
    room -= widthOf(segment);
    if (room < 0) break;
    head += segment;
  }
  return head + ellipsis;
}
const ellipsis = "...";
const graphemes = new Intl.Segmenter();

/**
 * Lines of whole words, each shorter than `width` columns. A longer word has a
 * line of its own.
 */
export function wrapped(text: string, width: number): string[] {
  const lines = wrapAnsi(text, width - 1, { hard: false }).split("\n");
  return lines.filter((line) => line !== "");
}
