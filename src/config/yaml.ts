import {
  type Alias,
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  type Pair,
  Parser,
  visit,
  type YAMLMap,
} from "yaml";

/** A position in a file; line and column count from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface Complaint extends Place {
  readonly message: string;
}

/** A YAML text as plain values, with the position of each value. */
export interface Yaml {
  readonly root: unknown;
  readonly document: Document.Parsed;
  /** Oddities with a clear meaning, such as an unknown tag. */
  readonly warnings: readonly Complaint[];
  /**
   * The position of the value at `path`, or of the nearest node around it. A
   * list item is named by its number.
   */
  place(path: readonly string[]): Place;
  /** The position of the last key in `path`. */
  placeOfKey(path: readonly string[]): Place;
  /** The source text of a plain (unquoted, untagged) scalar. */
  plain(path: readonly string[]): string | undefined;
}

export type ParsedYaml =
  | { readonly ok: true; readonly yaml: Yaml }
  | { readonly ok: false; readonly complaints: readonly Complaint[] };

/**
 * Parses one YAML 1.2 document, with merge keys (`<<`) as in the Go program.
 * Duplicate keys, a second document, keys that are not texts, and values that
 * multiply through aliases are complaints. Never throws. A complaint does not
 * quote the text, since it may contain the API key.
 */
export function parseYaml(text: string): ParsedYaml {
  const lines = new LineCounter();
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  try {
    const { tokens, deepAt } = tokensOf(text, lines);
    if (deepAt !== undefined)
      return { ok: false, complaints: [{ message: tooDeep, ...at(deepAt) }] };
    const composer = new Composer({
      merge: true,
      stringKeys: true,
      // Its own check takes the square of their number.
      uniqueKeys: false,
      prettyErrors: false,
      logLevel: "error",
    });
    // There is an empty one if the text has none.
    const documents = composer.compose(tokens, true, text.length);
    const document = documents.next().value as Document.Parsed;
    const second = documents.next().value;
    const complain = (problem: {
      code: string;
      message: string;
      pos: [number, number];
    }): Complaint => ({
      message: wording(problem),
      ...at(problem.pos[0]),
    });
    const complaints = [
      ...document.errors.map(complain),
      ...(second === undefined ? [] : [{ message: oneDocument, ...at(second.range[0]) }]),
      ...repeatedKeys(document, at),
      ...unknownAliases(document, at),
    ];
    if (complaints.length > 0) return { ok: false, complaints };
    const index = indexOf(document);
    const steps = (path: readonly string[]): readonly Step[] => stepsTo(document, path, index);
    const yaml: Yaml = {
      root: document.toJS({ maxAliasCount: 100 }),
      document,
      warnings: document.warnings.map(complain),
      place: (path) =>
        at(steps(path).findLast(({ value }) => value?.range)?.value?.range?.[0] ?? 0),
      placeOfKey: (path) => at(steps(path).findLast(({ key }) => key?.range)?.key?.range?.[0] ?? 0),
      plain(path) {
        const node = steps(path)[path.length]?.value;
        return isScalar(node) && node.type === "PLAIN" && node.tag === undefined
          ? node.source
          : undefined;
      },
    };
    return { ok: true, yaml };
  } catch (error) {
    // From toJS: too many aliases, or a merge key whose value is not a map.
    return {
      ok: false,
      complaints: [{ message: error instanceof Error ? error.message : String(error), ...at(0) }],
    };
  }
}

const oneDocument = "a second document starts here; one is allowed";

/** Settings have four. To compose a value takes the square of its depth. */
const levels = 32;
const tooDeep = `values are nested more than ${levels} levels deep here`;

/**
 * The tokens of a text. `deepAt` is the offset at which it has more than
 * {@link levels}; the tokens end there.
 */
function tokensOf(text: string, lines: LineCounter): { tokens: CST.Token[]; deepAt?: number } {
  const parser = new Parser(lines.addNewLine);
  const tokens: CST.Token[] = [];
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    tokens.push(...parser.next(lexeme));
    if (parser.stack.length > levels) return { tokens, deepAt: parser.offset };
  }
  tokens.push(...parser.end());
  return { tokens };
}

export interface Step {
  readonly key: Node | undefined;
  readonly value: Node | undefined;
}

/**
 * The nodes from the root (the first step) along `path`, through aliases. The
 * list ends at the last node that exists.
 */
export function stepsTo(
  document: Document.Parsed,
  path: readonly string[],
  index: Index = indexOf(document),
): readonly Step[] {
  const steps: Step[] = [{ key: undefined, value: document.contents ?? undefined }];
  for (const name of path) {
    const last = steps.at(-1)?.value;
    const parent = isAlias(last) ? index.target(last) : last;
    if (isMap<Node, Node | null>(parent)) {
      const pair = index.pairs(parent).get(name);
      if (pair === undefined) break;
      steps.push({ key: pair.key, value: pair.value ?? undefined });
    } else if (isSeq<Node>(parent)) {
      const item = parent.items[Number(name)];
      if (item === undefined) break;
      steps.push({ key: undefined, value: item });
    } else break;
  }
  return steps;
}

type Pairs = ReadonlyMap<string, Pair<Node, Node | null>>;

/** A document's maps and aliases, each looked through once. */
interface Index {
  pairs(map: YAMLMap<Node, Node | null>): Pairs;
  target(alias: Alias): Node | undefined;
}

function indexOf(document: Document.Parsed): Index {
  const pairs = new Map<YAMLMap<Node, Node | null>, Pairs>();
  const targets = new Map<Alias, Node | undefined>();
  return {
    pairs: (map) => once(pairs, map, () => new Map(map.items.flatMap(named))),
    target: (alias) => once(targets, alias, () => alias.resolve(document)),
  };
}

const named = (pair: Pair<Node, Node | null>): [string, Pair<Node, Node | null>][] =>
  isScalar(pair.key) ? [[String(pair.key.value), pair]] : [];

function once<Key, Value>(known: Map<Key, Value>, key: Key, find: () => Value): Value {
  const value = known.has(key) ? (known.get(key) as Value) : find();
  known.set(key, value);
  return value;
}

function repeatedKeys(document: Document.Parsed, at: (offset: number) => Place): Complaint[] {
  const complaints: Complaint[] = [];
  visit(document, {
    Map(_, { items }) {
      const names = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (names.has(key.value)) {
          const name = /^(?:[\w.-]+|<<$)/.exec(String(key.value))?.[0];
          const message = `${name === undefined ? "a key" : `the key ${name}`} is set a second time`;
          complaints.push({ message, ...at(key.range?.[0] ?? 0) });
        }
        names.add(key.value);
      }
    },
  });
  return complaints;
}

function unknownAliases(document: Document.Parsed, at: (offset: number) => Place): Complaint[] {
  const complaints: Complaint[] = [];
  const anchors = new Set<string>();
  const message =
    "an alias (*) stands before the anchor (&) that it names, or there is no such anchor";
  visit(document, {
    Value: (_, { anchor }) => void (anchor !== undefined && anchors.add(anchor)),
    Alias: (_, { source, range }) =>
      void (anchors.has(source) || complaints.push({ message, ...at(range?.[0] ?? 0) })),
  });
  return complaints;
}

function wording({ code, message }: { code: string; message: string }): string {
  // After "…: " comes a part of the text, which may be a secret.
  return code === "UNEXPECTED_TOKEN" ? message.replace(/: .*$/s, "") : message;
}
