/** The texts of an ingress, for one line of a message. Pure. */
import { oneLine } from "../model/error.ts";

/** A text of the ingress can have 64 KB of any characters. */
export const inShort = (text: string): string => oneLine(text.slice(0, 500));

/** A response of 64 KB has room for thousands of notices. */
const shownNotices = 3;

/** The first few notices, and the number of the others; empty without any. */
export function noticesText(notices: readonly string[]): string {
  const told = [...new Set(notices.map(inShort))].filter((text) => text !== "");
  const more = told.length - shownNotices;
  const rest = more > 0 ? [`and ${more} more ${more === 1 ? "notice" : "notices"}`] : [];
  return [...told.slice(0, shownNotices), ...rest].join("; ");
}
