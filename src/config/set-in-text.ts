import { isDeepStrictEqual } from "node:util";
import { type Document, isAlias, isMap, isScalar, isSeq, type Node, type YAMLMap } from "yaml";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";
import { withValueAt } from "./value-at.ts";
import { parseYaml, stepsTo } from "./yaml.ts";

export type Single = string | number | boolean;
/** A list is written in one line. */
export type Value = Single | readonly unknown[];

/**
 * Pure: a YAML text with one value changed. Only the characters of that value
 * are replaced; a line is added if the setting is missing. The result is parsed
 * again. It is returned only if the setting has the new value and every other
 * value is unchanged.
 */
export function setValueInText(
  text: string,
  path: readonly string[],
  value: Value,
): Parsed<string> {
  const before = parseYaml(text);
  if (!before.ok)
    return unparsed(`line ${before.complaints[0]?.line ?? 1}: ${before.complaints[0]?.message}`);
  const change = changeFor(before.yaml.document, text, path, value);
  if (change !== undefined) {
    const result = text.slice(0, change.start) + change.insert + text.slice(change.end);
    const after = parseYaml(result);
    if (after.ok && isDeepStrictEqual(after.yaml.root, withValueAt(before.yaml.root, path, value)))
      return parsed(result);
  }
  return unparsed("its layout leaves no safe place for the change");
}

/** `insert` replaces the characters from `start` to `end` (offsets). */
interface Change {
  readonly start: number;
  readonly end: number;
  readonly insert: string;
}

/**
 * The smallest change that may be right. The caller must check the result.
 * Undefined if there is none.
 */
function changeFor(
  document: Document.Parsed,
  text: string,
  path: readonly string[],
  value: Value,
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
  const isFlowList = isSeq(node) && node.flow === true;
  if ((!isScalar(node) && !isAlias(node) && !isFlowList) || !node.range) return undefined;
  const [start, end] = node.range;
  const old = text.slice(start, end);
  // A comment inside would be lost.
  if (isFlowList && old.includes("#")) return undefined;
  if (old === "") {
    // `key:` without a value, perhaps with a comment. Insert right after the
    // colon, since the range of the empty node is that of the next token.
    const colon = text.indexOf(":", key?.range?.[1] ?? start);
    return { start: colon + 1, end: colon + 1, insert: ` ${insert}` };
  }
  if (!/^[|>]/.test(old)) return { start, end, insert };
  // The range of a block scalar includes a comment and the line ends after it.
  const comment = /^[|>][^\s#]*([ \t]+#[^\r\n]*)?/.exec(old)?.[1] ?? "";
  return { start, end, insert: insert + comment + (/\s*$/.exec(old)?.[0] ?? "") };
}

function afterBrace(text: string, map: YAMLMap<Node>, pair: string): Change {
  const start = (map.range?.[0] ?? 0) + 1;
  const spaced = /\s/.test(text[start] ?? "");
  const insert = map.items.length === 0 ? pair : spaced ? `${pair},` : `${pair}, `;
  return { start, end: start, insert: spaced ? ` ${insert}` : insert };
}

/** Directly below the line of `key`, so that comments keep their place. */
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

/** The indentation of the line of a node. */
function indentOf(text: string, node: Node | undefined): string {
  const start = text.lastIndexOf("\n", (node?.range?.[0] ?? 0) - 1) + 1;
  return /^\ufeff?( *)/.exec(text.slice(start))?.[1] ?? "";
}

const flowPair = (path: readonly string[], value: Value): string =>
  path.reduceRight(
    (inner, name, i) => `${nameCode(name)}: ${i === path.length - 1 ? inner : `{ ${inner} }`}`,
    code(value),
  );

function blockPair(path: readonly string[], value: Value, indent: string, eol: string): string {
  const lines = path.map((name, i) => `${indent}${"  ".repeat(i)}${nameCode(name)}:`);
  return `${lines.join(eol)} ${code(value)}${eol}`;
}

const nameCode = (name: string): string => (/^[a-z][a-z_]*$/i.test(name) ? name : code(name));

/** JSON is valid YAML, except that YAML escapes a few more characters. */
const code = (value: Value): string =>
  JSON.stringify(value).replaceAll(
    /[\x7f-\x9f\u2028\u2029\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
