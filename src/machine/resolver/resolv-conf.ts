import { type Parsed, parsed, unparsed } from "../../model/parsed.ts";
import { beginLine, endLine } from "../hosts/text.ts";

/**
 * Pure: the text of resolv.conf with our server first, in a section of its
 * own. The resolver asks the next one for names that we refuse. All other bytes
 * stay as they are.
 */
export function withServer(text: string, server: string): Parsed<string> {
  const rest = withoutServer(text);
  if (!rest.ok) return rest;
  return parsed(`${beginLine}\nnameserver ${server}\n${endLine}\n${rest.value}`);
}

/** Pure: the text without our section, and as it was if there is none. */
export function withoutServer(text: string): Parsed<string> {
  const rest = text.replaceAll(new RegExp(`^${section}`, "gm"), "");
  const isBroken = rest.includes(beginLine) || rest.includes(endLine);
  return isBroken
    ? unparsed(`it has "${beginLine}" without its end, or the other way round: remove that part`)
    : parsed(rest);
}

const section = `${beginLine}\\n(?:(?!${beginLine}|${endLine})[^\\n]*\\n)*${endLine}(?:\\n|$)`;

/** The first line of a file that the Go program has changed. */
const goMarker = "# ngrokd managed - do not edit this line";

/**
 * Pure: the text without the two lines that the Go program puts first; our
 * section may precede them. Undefined if they are not there: then another
 * program has written the file since, and it is that program's.
 */
export function withoutGoLines(text: string): string | undefined {
  const lines = new RegExp(`^((?:${section})?)${goMarker}\\r?\\nnameserver [^\\n]*\\n`);
  const match = lines.exec(text);
  return match === null ? undefined : `${match[1]}${text.slice(match[0].length)}`;
}
