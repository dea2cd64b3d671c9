/**
 * Conditions in CEL, the Common Expression Language: the selectors of operators
 * and the filters of lists.
 */
import { Environment } from "@marcbachmann/cel-js";
import { reasonOf } from "../model/error.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";

/** The value is made only if the condition depends on it. */
export type Condition = (value: () => object) => boolean;

const always: Condition = () => true;

/**
 * A condition on one value, which the expression calls `name`. A condition that
 * cannot be decided for a value, as for want of a field, is false for it.
 */
export function parseCondition(expression: string, name: "endpoint" | "obj"): Parsed<Condition> {
  if (expression === "true") return parsed(always);
  const environment = new Environment().registerVariable(name, "dyn");
  try {
    const program = environment.parse(expression);
    const { valid, type, error } = program.check();
    if (!valid) return unparsed(`${quote(expression)}: ${firstLine(error)}`);
    if (type !== "bool" && type !== "dyn")
      return unparsed(`${quote(expression)} has the type ${type}, and not bool`);
    return parsed((value) => {
      try {
        return program({ [name]: celValue(value()) }) === true;
      } catch {
        return false;
      }
    });
  } catch (error) {
    return unparsed(`${quote(expression)}: ${firstLine(error)}`);
  }
}

/**
 * The endpoints that any of these selectors chooses. An operator without
 * selectors is shown all of them.
 */
export function parseSelectors(selectors: readonly string[]): Parsed<Condition> {
  const conditions: Condition[] = [];
  for (const selector of selectors) {
    const condition = parseCondition(selector, "endpoint");
    if (!condition.ok) return condition;
    conditions.push(condition.value);
  }
  return parsed((value) => conditions.length === 0 || conditions.some((holds) => holds(value)));
}

/** The rest of the parser's message repeats the expression. */
const firstLine = (error: unknown): string => reasonOf(error).split("\n", 1)[0] ?? "";

/** Whole numbers are CEL's int, and RFC 3339 times of an API are timestamps. */
function celValue(value: object): object {
  return Object.fromEntries(
    Object.entries(value).map(([field, content]: [string, unknown]) => {
      if (Number.isSafeInteger(content)) return [field, BigInt(content as number)];
      const isTime = field.endsWith("_at") && typeof content === "string";
      return [field, isTime ? new Date(content) : content];
    }),
  );
}
