import { z } from "zod";
import { readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";
import { endpointOf, isOperatorId } from "./wire.ts";

/**
 * ngrok's last list for an operator: `endpoints.json`. A start uses it if
 * ngrok's API cannot be asked.
 */
export interface LastList {
  readonly operatorId: string;
  readonly endpoints: readonly ApiEndpoint[];
}

/**
 * Reads the file; undefined if there is none. Rejects with NgrokdError `state`
 * if its content is not valid, and with `permission` or `state` if it cannot be
 * read. The file is only a copy: ngrok's next list replaces it.
 */
export async function loadLastList(path: string): Promise<LastList | undefined> {
  const text = await readFileIfThere(path);
  const list = text === undefined ? parsed(undefined) : parseLastList(text);
  if (list.ok) return list.value;
  throw new NgrokdError("state", `Cannot understand "${path}", since ${list.reason}`, {
    hint: "it is written again after the next successful poll",
  });
}

/**
 * Writes the list atomically (0600), unless the file has the same content.
 * Rejects with NgrokdError `permission` or `state`.
 */
export async function saveLastList(path: string, list: LastList): Promise<void> {
  const text = lastListText(list);
  if ((await readFileIfThere(path)) !== text) await writeFileAtomic(path, text, { mode: 0o600 });
}

/** Pure: one line for each endpoint, so that two lists are easy to compare. */
export function lastListText({ operatorId, endpoints }: LastList): string {
  const lines = endpoints.map((endpoint) => `\n${JSON.stringify(endpoint)}`);
  return `{"version":${formatVersion},"operator_id":${JSON.stringify(operatorId)},"endpoints":[${lines.join(",")}]}\n`;
}

/**
 * Pure: the reverse of {@link lastListText}. Parses every endpoint as if ngrok
 * had just sent it.
 */
export function parseLastList(text: string): Parsed<LastList> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return unparsed(`it is not JSON: ${reasonOf(error)}`);
  }
  const found = listShape.safeParse(json).data;
  if (found === undefined) return unparsed(`it is not a list of version ${formatVersion}`);
  return parsed({ operatorId: found.operator_id, endpoints: found.endpoints.map(endpointOf) });
}

const formatVersion = 1;
const listShape = z.object({
  version: z.literal(formatVersion),
  operator_id: z.string().refine(isOperatorId),
  endpoints: z.array(z.unknown()),
});
