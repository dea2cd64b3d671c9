import * as z from "zod/mini";
import { eventSchema } from "../desk/history-schemas.ts";
import { type Operation, operations, webOperationNames } from "../desk/operations.ts";

type Json = Readonly<Record<string, unknown>>;

/** Where each operation is. */
export const pathOf = (name: string): string => `/api/v1/${name}`;

/** Pure: the description of the API (OpenAPI 3.1), from the operations. */
export function openApi(version: string): Json {
  const all = webOperationNames.map((name): [string, Json] => {
    const operation: Operation = operations[name];
    return [
      pathOf(name),
      operation.kind === "read" ? getOf(name, operation) : postOf(name, operation),
    ];
  });
  const paths = Object.fromEntries(all);
  return {
    openapi: "3.1.0",
    info: {
      title: "ngrokd",
      version,
      description: "The daemon of this machine: its endpoints, connections, traffic and events.",
    },
    paths: { ...paths, [pathOf("events")]: eventsOf(paths[pathOf("events")]) },
    components: { schemas: { Error: errorSchema } },
  };
}

const errorSchema = {
  type: "object",
  required: ["error"],
  properties: {
    error: {
      type: "object",
      required: ["code", "message"],
      properties: {
        code: { type: "string" },
        message: { type: "string" },
        hint: { type: "string" },
      },
    },
  },
};

function getOf(name: string, { summary, input, help, reply }: Operation): Json {
  const { properties = {}, required = [] } = jsonSchema(input, "input");
  const parameters = Object.entries(properties).map(([argument, schema]) => ({
    name: argument,
    in: "query",
    required: (required as string[]).includes(argument),
    description: help[argument],
    schema,
  }));
  const responses = responsesOf({ "application/json": { schema: jsonSchema(reply, "output") } });
  return { get: { operationId: name, summary, parameters, responses } };
}

function postOf(name: string, { summary, input, help, reply }: Operation): Json {
  const { properties = {}, ...schema } = jsonSchema(input, "input");
  const described = Object.entries(properties).map(([argument, one]) => [
    argument,
    { ...(one as object), description: help[argument] },
  ]);
  const body = { ...schema, properties: Object.fromEntries(described) };
  return {
    post: {
      operationId: name,
      summary,
      requestBody: { content: { "application/json": { schema: body } } },
      responses: responsesOf({ "application/json": { schema: jsonSchema(reply, "output") } }),
    },
  };
}

/** Events are a stream too. */
function eventsOf(path: Json | undefined): Json {
  const { get } = path as { get: Record<string, unknown> };
  const schema = jsonSchema(eventSchema, "output");
  const stream = { "text/event-stream": { schema: { type: "string" }, "x-event": schema } };
  const description =
    "With `Accept: application/json` one reply, otherwise a stream of server-sent events " +
    "without end. `Last-Event-ID` counts as `after`.";
  const responses = get.responses as { "200": { content: Json } };
  const ok = { ...responses["200"], content: { ...stream, ...responses["200"].content } };
  return { get: { ...get, description, responses: { ...responses, "200": ok } } };
}

const responsesOf = (content: Json): Json => ({
  "200": { description: "The reply", content },
  default: {
    description: "An error",
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  },
});

interface ObjectSchema {
  readonly properties?: Json;
  readonly required?: unknown;
}

/** Pure: a schema of ours as JSON Schema. */
export function jsonSchema(schema: z.ZodMiniType, io: "input" | "output"): ObjectSchema {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest as ObjectSchema;
}
