import { Buffer } from "node:buffer";
import { isIP } from "node:net";
import { isReserved } from "../../exposure/allocate.ts";
import { isLocalhostKin } from "../../exposure/forbidden.ts";
import { autoSubnets } from "../../exposure/ground.ts";
import { type Hostname, parseHostname } from "../../model/hostname.ts";
import {
  type AnyIp,
  hasHostPart,
  type Ip,
  type Ip6,
  loopback,
  parseIp,
  parseIp6,
  type Subnet,
  subnetHas,
} from "../../model/ip.ts";
import { quote } from "../../model/parsed.ts";

/**
 * The lines around our section, the same as in the Go program. Each must be a
 * whole line; white space may follow.
 */
export const beginLine = "# BEGIN ngrokd managed section";
export const endLine = "# END ngrokd managed section";

/**
 * The ranges of our entries: loopback, and those of a virtual interface, with
 * the default range of the Go program.
 */
export const entryRanges: readonly Subnet[] = [loopback, ...autoSubnets];

export type HostsEdit =
  | { readonly kind: "same"; readonly shadowed: readonly Hostname[] }
  | {
      readonly kind: "changed";
      readonly text: string;
      /** The repairs of the section, one sentence each. */
      readonly repairs: readonly string[];
      /**
       * Sorted names to which a line outside the section gives another address.
       * They are not written.
       */
      readonly shadowed: readonly Hostname[];
    }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Makes the section of a hosts file hold exactly `entries`, one line each
 * (`IP<TAB>name`), sorted by name, and below it the line with the address of
 * `six`, if the name has one there. Without entries there is no section. A name
 * to which a line outside gives another address is left out: the user's line
 * counts, above and below the section. A new section goes to the end; an
 * existing one keeps its place.
 *
 * `text` is the file read as latin1, one character for each byte, and so is the
 * result: the text outside the section is kept byte for byte. Only the marker
 * lines and the entries between them are removed, and all lines with a name and
 * an address of `written`, in any spacing: another tool may have reformatted
 * the file. Other lines between the markers move below the section. A marker
 * without its partner owns only the adjacent lines that are in our format and
 * order.
 *
 * Removing the section restores the text from before it was added. Editing the
 * result again changes nothing. A line counts as ours only if its address is in
 * one of `ranges`, and is not reserved, or if it is a unique local one of IPv6.
 */
export function editHosts(
  text: string,
  entries: ReadonlyMap<Hostname, Ip>,
  ranges = entryRanges,
  written: Written = new Map(),
  six: Entries6 = new Map(),
): HostsEdit {
  if (text.startsWith("\xff\xfe") || text.startsWith("\xfe\xff")) {
    return {
      kind: "refused",
      reason: "it is UTF-16 text, which resolvers do not read; save it as plain text (UTF-8)",
    };
  }
  const bom = text.startsWith("\xef\xbb\xbf") ? text.slice(0, 3) : "";
  const parts = takeApart(text.slice(bom.length), ownershipOf({ entries, ranges, written, six }));
  const foreign = parts.before + parts.after;
  const addresses = foreignAddresses(foreign, entries);
  const shadowed = [...addresses.keys()]
    .filter((name) =>
      addresses.get(name)?.some((one) => one !== entries.get(name) && one !== six.get(name)),
    )
    .sort();
  const served = new Map(entries);
  for (const name of shadowed) served.delete(name);
  const next = bom + parts.before + sectionOf(parts, served, six) + parts.after;
  return next === text
    ? { kind: "same", shadowed }
    : { kind: "changed", text: next, repairs: parts.repairs, shadowed };
}

/** The IPv6 addresses of names, beside their IPv4 addresses. */
export type Entries6 = ReadonlyMap<Hostname, Ip6>;

/** The names and addresses that this daemon or an earlier run has written. */
export type Written = ReadonlyMap<Hostname, Ip>;

/**
 * Pure: the addresses that lines outside our section give to `names`. `text`
 * and `written` are as for editHosts.
 */
export function pinsIn(
  text: string,
  names: ReadonlySet<Hostname>,
  written: Written,
): ReadonlyMap<Hostname, readonly string[]> {
  const { before, after } = takeApart(
    text,
    ownershipOf({ entries: new Map(), ranges: entryRanges, written, six: new Map() }),
  );
  return foreignAddresses(before + after, names);
}

interface Parts {
  /** The text of others, before and after the section. */
  readonly before: string;
  readonly after: string;
  /** The line end for our lines: the most frequent one of the other lines. */
  readonly eol: string;
  readonly repairs: readonly string[];
}

/**
 * The first line of the section, if the line above had no line end and we added
 * one. Removing the section then removes that line end too.
 */
const joint = "# (before this section, the line above had no line end)";

function sectionOf(
  { before, eol }: Parts,
  entries: ReadonlyMap<Hostname, Ip>,
  six: Entries6,
): string {
  if (entries.size === 0) return "";
  const joined = before !== "" && !before.endsWith("\n");
  const lines = [...entries]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([name, ip]) => [ip, six.get(name) ?? []].flat().map((one) => `${one}\t${name}`));
  const section = [beginLine, ...(joined ? [joint] : []), ...lines, endLine, ""].join(eol);
  return joined ? eol + section : section;
}

function takeApart(text: string, own: Ownership): Parts {
  const start = Math.min(firstOfOurs(text), own.firstWritten(text));
  const untouched = text.slice(0, start);
  const lines = text.slice(start).match(/[^\n]*\n|[^\n]+/g) ?? [];
  const { place, dropped, repairs } = findOurs(lines, own, count(untouched, "\n"));
  const kept = (from: number, to: number) =>
    lines.slice(from, to).filter((_, i) => !dropped.has(from + i));
  const above = untouched + kept(0, place).join("");
  const after = kept(place, lines.length).join("");
  const style = lines[place]?.endsWith("\r\n") ? "\r\n" : "\n";
  const before =
    after === "" && isJoint(lines[place + 1] ?? "") ? withoutLineEnd(above, style) : above;
  return { before, after, eol: commonEol(before + after) ?? style, repairs };
}

const firstMarker = new RegExp(`(?:^|\\n)(?:(${beginLine})|${endLine})[ \\t\\r]*(?=\\n|$)`);

/**
 * The index of the first line that may be ours. The text above a section's
 * first marker is not scanned: it may be a large block list.
 */
function firstOfOurs(text: string): number {
  const marker = firstMarker.exec(text);
  if (marker === null) return text.length;
  // An end marker without a begin marker may have our entries above it.
  if (marker[1] === undefined) return 0;
  return marker[0].startsWith("\n") ? marker.index + 1 : marker.index;
}

/** Removes the line end that came with the joint, if we add such a one. */
function withoutLineEnd(text: string, style: string): string {
  const rest = text.endsWith(style) ? text.slice(0, -style.length) : "";
  return rest === "" || rest.endsWith("\n") || (commonEol(rest) ?? style) !== style ? text : rest;
}

/**
 * The indexes of our lines, which are removed, and the index where the section
 * belongs: at the first marker, or at the end. `skipped` is the number of lines
 * above `lines` in the file.
 */
function findOurs(lines: readonly string[], own: Ownership, skipped: number) {
  const dropped = new Set<number>();
  const repairs: string[] = [];
  const strangers: string[] = [];
  const markers = [...lines.keys()].filter((i) => isBegin(lines[i]) || isEnd(lines[i]));
  const dropIf = (i: number, test: (line: string) => boolean): boolean => {
    const good = test(lines[i] ?? "");
    if (good) dropped.add(i);
    return good;
  };
  let sections = 0;
  for (let m = 0; m < markers.length; m++) {
    const here = markers[m] ?? 0;
    const next = markers[m + 1] ?? lines.length;
    const number = skipped + here + 1;
    dropped.add(here);
    if (isEnd(lines[here])) {
      repairs.push(`line ${number} ended a section that no line began`);
      let i = here - 1;
      while (dropIf(i, own.alone) && inOrder(lines[i - 1], lines[i])) i--;
      dropIf(i, isJoint);
      continue;
    }
    if (++sections > 1) repairs.push(`line ${number} began another section; there is one now`);
    if (isEnd(lines[next])) {
      dropped.add(next);
      m++;
      for (let i = here + 1; i < next; i++)
        if (!dropIf(i, (line) => own.between(line) || isJoint(line)))
          strangers.push(lines[i] ?? "");
    } else {
      repairs.push(`line ${number} began a section that no line ended`);
      let i = dropIf(here + 1, isJoint) ? here + 2 : here + 1;
      while (dropIf(i, own.alone) && inOrder(lines[i], lines[i + 1])) i++;
    }
  }
  const stray = own.hasWritten ? lines.keys().filter((i) => !dropped.has(i)) : [];
  const found = [...stray].filter((i) => dropIf(i, own.isWritten));
  if (found.length > 0) repairs.push(straySentence(found.length));
  if (strangers.length > 0) repairs.push(strangersSentence(strangers));
  return { place: markers[0] ?? lines.length, dropped, repairs };
}

const isBegin = (line = ""): boolean => isLine(line, beginLine);
const isEnd = (line = ""): boolean => isLine(line, endLine);
const isJoint = (line: string): boolean => isLine(line, joint);
const isLine = (line: string, text: string): boolean =>
  line.startsWith(text) && /^[ \t\r\n]*$/.test(line.slice(text.length));

/**
 * True if the second entry may follow the first in our section. True also if
 * either is no entry, which ends the run by itself.
 */
function inOrder(first = "", second = ""): boolean {
  const [a, b] = [entryOf(first), entryOf(second)];
  if (a === undefined || b === undefined || a.name < b.name) return true;
  return a.name === b.name && !isSix(a.ip) && isSix(b.ip);
}

/** Recognizes our lines by their text. */
interface Ownership {
  /** Between both markers: any spacing and case, also the Go program's. */
  readonly between: (line: string) => boolean;
  /** Next to a marker without its partner: only our own format. */
  readonly alone: (line: string) => boolean;
  /** Anywhere: a name and an address that ngrokd has written, in any format. */
  readonly isWritten: (line: string) => boolean;
  readonly hasWritten: boolean;
  /** The index of the first written line; the end of the text without one. */
  readonly firstWritten: (text: string) => number;
}

function ownershipOf({
  entries,
  ranges,
  written,
  six,
}: {
  entries: ReadonlyMap<Hostname, Ip>;
  ranges: readonly Subnet[];
  written: Written;
  six: Entries6;
}): Ownership {
  const isOurs = (entry: Entry | undefined): boolean => {
    if (entry === undefined) return false;
    const { name, ip } = entry;
    if (entries.get(name) === ip || six.get(name) === ip) return true;
    if (isLocalhostKin(name)) return false;
    if (isSix(ip)) return ip.startsWith("fd");
    return !isReserved(ip) && ranges.some((range) => subnetHas(range, ip));
  };
  const isWritten = (line: string): boolean => {
    const entry = looseEntryOf(line.split("#", 1)[0] ?? "");
    if (entry === undefined) return false;
    const { name, ip } = entry;
    if (isSix(ip)) {
      const first = written.get(name);
      return six.get(name) === ip || (first !== undefined && hasHostPart(ip, first));
    }
    return written.get(name) === ip && !isReserved(ip);
  };
  return {
    between: (line) => isWritten(line) || isOurs(looseEntryOf(line)),
    alone: (line) => isOurs(entryOf(line)),
    isWritten,
    hasWritten: written.size > 0,
    firstWritten: (text) => firstLineThat(isWritten, text, written),
  };
}

/**
 * The index of the first line that passes the test and begins like one of these
 * addresses, or like one of our IPv6 addresses. The other lines, such as those
 * of a block list, are not parsed.
 */
function firstLineThat(test: (line: string) => boolean, text: string, written: Written): number {
  if (written.size === 0) return text.length;
  const nets = new Set([...written.values()].map((ip) => ip.slice(0, ip.indexOf(".") + 1)));
  const starts = [...nets].map((net) => net.replace(".", "\\.")).join("|");
  const lines = new RegExp(`^[ \\t]*(?:${starts}|fd[\\da-f]{2}:)(?!0\\.0\\.1[ \\t])[^\\n]*`, "gm");
  for (let line = lines.exec(text); line !== null; line = lines.exec(text))
    if (test(line[0])) return line.index;
  return text.length;
}

interface Entry {
  readonly name: Hostname;
  readonly ip: AnyIp;
}

/** An entry in exactly our format. */
function entryOf(line: string): Entry | undefined {
  const [, ipText = "", nameText = ""] =
    /^([\d.]{7,15}|fd[\da-f:]{4,37})\t([a-z0-9._-]{1,253})\r?\n?$/.exec(line) ?? [];
  const entry = parseEntry(ipText, nameText);
  return entry?.name === nameText ? entry : undefined;
}

/**
 * An address and one name, in any spacing and case. The Go program wrote
 * wildcards too.
 */
function looseEntryOf(line: string): Entry | undefined {
  const [, ipText = "", nameText = ""] =
    /^\s*([\d.]{7,15}|fd[\da-f:]{4,37})[ \t]+(?:\*\.)?([a-z0-9._-]{1,254})\s*$/i.exec(line) ?? [];
  return parseEntry(ipText, nameText);
}

function parseEntry(ipText: string, nameText: string): Entry | undefined {
  const ip = ipText.includes(":") ? parseIp6(ipText) : parseIp(ipText);
  const name = parseHostname(nameText);
  return ip.ok && name.ok ? { name: name.value, ip: ip.value } : undefined;
}

const isSix = (ip: AnyIp): ip is Ip6 => ip.includes(":");

const straySentence = (lines: number): string =>
  lines === 1
    ? "1 line that ngrokd had written stood outside its section"
    : `${lines} lines that ngrokd had written stood outside its section`;

function strangersSentence(lines: readonly string[]): string {
  const shown = lines
    .slice(0, 3)
    .map((line) => quote(Buffer.from(line.trimEnd(), "latin1").toString("utf8")));
  const list = shown.join(", ") + (lines.length > shown.length ? ", …" : "");
  const count =
    lines.length === 1
      ? "1 line that ngrokd did not write was"
      : `${lines.length} lines that ngrokd did not write were`;
  return `${count} moved from inside the section to below it: ${list}`;
}

function commonEol(text: string): string | undefined {
  const all = count(text, "\n");
  const crlf = count(text, "\r\n");
  if (all === 0) return undefined;
  return crlf * 2 > all ? "\r\n" : "\n";
}

function count(text: string, part: string): number {
  let found = 0;
  for (let at = text.indexOf(part); at !== -1; at = text.indexOf(part, at + part.length))
    found += 1;
  return found;
}

/** Which of these names foreign lines carry, and the addresses they give. */
function foreignAddresses(
  foreign: string,
  names: { keys(): Iterable<Hostname>; readonly size: number },
): Map<Hostname, string[]> {
  const found = new Map<Hostname, string[]>();
  if (names.size === 0) return found;
  const known = new Map<string, Hostname>();
  for (const name of names.keys()) known.set(name, name);
  // Of the words of a block list few begin as a name of ours does (with a
  // letter, a digit or an underscore): the rest is passed over.
  const initials = [...new Set([...names.keys()].map((name) => name.charAt(0)))].join("");
  const words = new RegExp(`(?<=\\s)[${initials}][^\\s#]*`, "gi");
  for (let word = words.exec(foreign); word !== null; word = words.exec(foreign)) {
    if (!known.has(nameIn(word[0]))) continue;
    const end = foreign.indexOf("\n", word.index);
    words.lastIndex = end === -1 ? foreign.length : end;
    const line = foreign.slice(foreign.lastIndexOf("\n", word.index) + 1, words.lastIndex);
    const [address = "", ...listed] = (line.split("#", 1)[0] ?? "").trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of new Set(listed.map((text) => known.get(nameIn(text))))) {
      if (name !== undefined) found.set(name, [...(found.get(name) ?? []), address]);
    }
  }
  return found;
}

/** Resolvers take no notice of case and of a final dot. */
const nameIn = (word: string): string =>
  (word.endsWith(".") ? word.slice(0, -1) : word).toLowerCase();
