import { lstat, open, readlink, realpath } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Document, isAlias, isMap, isScalar, type Node, type YAMLMap } from "yaml";
import { ensureWritableFolder, errnoOf, fileError, writeFileAtomic } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";
import { readConfigFile } from "./load.ts";
import { needsRoot } from "./problem.ts";
import { wrongValues } from "./read.ts";
import { configSchema, type SettingKey, valueAt, withValueAt } from "./schema.ts";
import { configTemplate } from "./template.ts";
import { parseYaml, stepsTo } from "./yaml.ts";

export type Single = string | number | boolean;

/**
 * Changes one setting in the configuration file and nothing else: comments,
 * order, unknown keys and the spelling of everything else survive. The file is
 * replaced atomically and has mode 0600 afterwards; a symbolic link goes on
 * pointing at it. Where there is no file, one with every setting explained is
 * made (its folder with mode 0700). Rejects with NgrokdError `config` (a value
 * that is not allowed, a file that cannot be changed safely), `permission` or
 * `state`.
 */
export async function setConfigValue(path: string, key: SettingKey, value: Single): Promise<void> {
  const way = key.split(".");
  const wanted = withValueAt({}, way, value);
  const [wrong] = wrongValues(wanted, () => ({ source: path }));
  if (wrong !== undefined) throw new NgrokdError("config", `Cannot set ${key}: ${wrong.message}`);
  const settled = valueAt(configSchema.parse(wanted), way) as Single;
  const target = await targetOf(path);
  const old = await readConfigFile(target);
  const changed = setValueInText(old?.text ?? configTemplate(), way, settled);
  if (!changed.ok) {
    const hint = "set it by hand, with `ngrokd config edit`";
    throw new NgrokdError("config", `Cannot set ${key} in "${path}": ${changed.reason}`, { hint });
  }
  await ensureWritableFolder(dirname(target), 0o700).catch(needsRoot);
  await writeFileAtomic(target, changed.value, { mode: 0o600 });
}

/**
 * Writes the commented template, with mode 0600 (its folder 0700), unless there
 * is anything at `path`: then false. Rejects with NgrokdError `permission` or
 * `state`.
 */
export async function createConfig(path: string): Promise<boolean> {
  await ensureWritableFolder(dirname(path), 0o700).catch(needsRoot);
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    if (errnoOf(error) === "EEXIST") return undefined;
    throw fileError(`Cannot write "${path}"`, error);
  });
  if (file === undefined) return false;
  await file.close();
  // The empty file keeps the place; a crash from here on leaves it empty, which
  // is a right configuration.
  await writeFileAtomic(path, configTemplate(), { mode: 0o600 });
  return true;
}

/**
 * The text with one value changed. Only that value's own characters are
 * replaced, or a line is added where the setting is missing; the result is read
 * again, and given out only if the setting has the new value and everything
 * else the old one.
 */
export function setValueInText(
  text: string,
  path: readonly string[],
  value: Single,
): Parsed<string> {
  const before = parseYaml(text);
  if (!before.ok)
    return unparsed(`line ${before.complaints[0]?.line ?? 1}: ${before.complaints[0]?.message}`);
  const change = changeFor(before.yaml.document, text, path, value);
  if (change !== undefined) {
    const changed = text.slice(0, change.start) + change.insert + text.slice(change.end);
    const after = parseYaml(changed);
    if (after.ok && isDeepStrictEqual(after.yaml.root, withValueAt(before.yaml.root, path, value)))
      return parsed(changed);
  }
  return unparsed("it is written in a way that leaves no safe place for the change");
}

/**
 * The file at the end of a chain of symbolic links, whether it is there or not.
 * Rejects with NgrokdError `state` or `permission`.
 */
export async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      return needsRoot(fileError(`Cannot find the configuration "${path}"`, error));
    const link = await lstat(path).catch(() => undefined);
    return link?.isSymbolicLink()
      ? await targetOf(resolve(dirname(path), await readlink(path)))
      : path;
  }
}

/** The characters from `start` to `end` (offsets) give way to `insert`. */
interface Change {
  readonly start: number;
  readonly end: number;
  readonly insert: string;
}

/**
 * The smallest change that could do; undefined where there is none. Whether it
 * is right is for the caller to see.
 */
function changeFor(
  document: Document.Parsed,
  text: string,
  path: readonly string[],
  value: Single,
): Change | undefined {
  const steps = stepsTo(document, path);
  const { key, value: node } = steps.at(-1) ?? {};
  const missing = path.slice(steps.length - 1);
  if (missing.length === 0) return replaceValue(text, key, node, code(value));
  const flow = flowPair(missing, value);
  if (isAlias(node)) return replaceValue(text, key, node, `{ <<: *${node.source}, ${flow} }`);
  if (isMap<Node>(node) && node.flow === true) return afterBrace(text, node, flow);
  const block = (indent: string): string =>
    blockPair(missing, value, indent, text.includes("\r\n") ? "\r\n" : "\n");
  if (isMap<Node>(node)) {
    const indent = indentOf(text, node.items[0]?.key);
    return key === undefined ? atEnd(text, block(indent)) : afterLine(text, key, block(indent));
  }
  if (!isScalar(node)) return node === undefined ? atEnd(text, block("")) : undefined;
  if (node.value !== null) return undefined;
  if (key === undefined) return atEnd(text, block(""));
  const parent = steps.at(-2)?.value;
  if (node.source !== "" || (isMap(parent) && parent.flow === true))
    return replaceValue(text, key, node, `{ ${flow} }`);
  return afterLine(text, key, block(`${indentOf(text, key)}  `));
}

function replaceValue(
  text: string,
  key: Node | undefined,
  node: Node | undefined,
  insert: string,
): Change | undefined {
  if ((!isScalar(node) && !isAlias(node)) || !node.range) return undefined;
  const [start, end] = node.range;
  const old = text.slice(start, end);
  if (old === "") {
    // `key:` and nothing, or a comment: right behind the colon, since the node
    // is said to stand where the next thing does.
    const colon = text.indexOf(":", key?.range?.[1] ?? start);
    return { start: colon + 1, end: colon + 1, insert: ` ${insert}` };
  }
  if (!/^[|>]/.test(old)) return { start, end, insert };
  // A block scalar takes a comment and line ends with it that are not its own.
  const comment = /^[|>][^\s#]*([ \t]+#[^\r\n]*)?/.exec(old)?.[1] ?? "";
  return { start, end, insert: insert + comment + (/\s*$/.exec(old)?.[0] ?? "") };
}

function afterBrace(text: string, map: YAMLMap<Node>, pair: string): Change {
  const start = (map.range?.[0] ?? 0) + 1;
  const spaced = /\s/.test(text[start] ?? "");
  const insert = map.items.length === 0 ? pair : spaced ? `${pair},` : `${pair}, `;
  return { start, end: start, insert: spaced ? ` ${insert}` : insert };
}

/**
 * Below the line of `key`, above what is already there: comments stay with what
 * they explain.
 */
function afterLine(text: string, key: Node, lines: string): Change {
  const end = text.indexOf("\n", key.range?.[1] ?? 0);
  return insertLines(text, end === -1 ? text.length : end + 1, lines);
}

function atEnd(text: string, lines: string): Change {
  return insertLines(text, /^\.\.\.(?=\s|$)/m.exec(text)?.index ?? text.length, lines);
}

function insertLines(text: string, at: number, lines: string): Change {
  const open = at > 0 && text[at - 1] !== "\n" && text !== "\ufeff";
  return {
    start: at,
    end: at,
    insert: open ? `${lines.endsWith("\r\n") ? "\r\n" : "\n"}${lines}` : lines,
  };
}

/** The spaces before the first thing on a node's line. */
function indentOf(text: string, node: Node | undefined): string {
  const start = text.lastIndexOf("\n", (node?.range?.[0] ?? 0) - 1) + 1;
  return /^\ufeff?( *)/.exec(text.slice(start))?.[1] ?? "";
}

const flowPair = (path: readonly string[], value: Single): string =>
  path.reduceRight(
    (inner, name, i) => `${nameCode(name)}: ${i === path.length - 1 ? inner : `{ ${inner} }`}`,
    code(value),
  );

const blockPair = (path: readonly string[], value: Single, indent: string, eol: string): string =>
  path
    .map(
      (name, i) =>
        `${indent}${"  ".repeat(i)}${nameCode(name)}:${i === path.length - 1 ? ` ${code(value)}` : ""}${eol}`,
    )
    .join("");

const nameCode = (name: string): string => (/^[a-z][a-z_]*$/i.test(name) ? name : code(name));

/** JSON is YAML, but for a few characters that YAML wants escaped. */
const code = (value: Single): string =>
  JSON.stringify(value).replaceAll(
    /[\x7f-\x9f\u2028\u2029\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
