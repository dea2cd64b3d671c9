import { describe, expect, test } from "bun:test";
import {
  type Operation,
  operationNames,
  operations,
  webOperationNames,
} from "../../src/desk/operations.ts";
import { readerOf } from "../../src/web/http-api.ts";
import { openApi, pathOf } from "../../src/web/openapi.ts";

interface Method {
  readonly parameters?: readonly { name: string; description?: string; schema: object }[];
  readonly requestBody?: unknown;
  readonly responses: Readonly<Record<string, { content: Readonly<Record<string, unknown>> }>>;
}
const description = openApi("1.2.3") as unknown as {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, { get?: Method; post?: Method }>>;
};

describe("the description of the API", () => {
  test.each(webOperationNames)("has %s, by its method and with its arguments", (name) => {
    const { kind, input, help }: Operation = operations[name];
    const { get, post } = description.paths[pathOf(name)] ?? {};
    expect({ get: get !== undefined, post: post !== undefined }).toEqual({
      get: kind === "read",
      post: kind === "change",
    });
    const text = JSON.stringify(get?.parameters ?? post?.requestBody ?? {});
    const missing = Object.keys(input.shape).filter(
      (argument) => !text.includes(`"${argument}"`) || !text.includes(String(help[argument])),
    );
    expect(missing).toEqual([]);
    const { responses } = get ?? post ?? { responses: {} };
    expect(Object.keys(responses["200"]?.content ?? {})).toContain("application/json");
  });

  test("has no operation of the daemon's owner", () => {
    expect(operationNames.filter((name) => operations[name].kind === "owner")).toEqual(["upgrade"]);
    expect(JSON.stringify(description)).not.toContain("/api/v1/upgrade");
  });

  test("is plain JSON, whose references lead somewhere", () => {
    const text = JSON.stringify(description);
    expect(JSON.parse(text)).toEqual(description as never);
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, to = ""]) => to);
    expect([...new Set(references)]).toEqual(["#/components/schemas/Error"]);
    expect(description.openapi).toBe("3.1.0");
    expect(text).not.toContain("$schema");
  });

  test("says that events are a stream", () => {
    const content = description.paths["/api/v1/events"]?.get?.responses["200"]?.content ?? {};
    expect(Object.keys(content)).toEqual(["text/event-stream", "application/json"]);
  });
});

describe("the query of a request", () => {
  const read = readerOf(operations.traffic);
  const of = (text: string) => read(new URLSearchParams(text));

  test("is the input, with flags and texts as they are", () => {
    expect(of("host=true&each=true&step=5")).toEqual({
      ok: true,
      value: { host: "true", each: true, step: "5" },
    });
    expect(of("")).toEqual({ ok: true, value: {} });
  });

  test.each([
    ["each=yes", 'The argument "each" is true or false, and not "yes"'],
    ["step=1&step=2", 'The argument "step" is there twice'],
    ["constructor=x", 'There is no argument "constructor"'],
  ])("of %s is refused", (text, reason) => {
    expect(of(text)).toEqual({ ok: false, reason });
  });
});
