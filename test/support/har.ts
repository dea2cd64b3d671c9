/** Checks HTTP archives by the schema of HAR 1.2. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import Ajv from "ajv";

/** The mistakes of an archive; empty if it is as the schema says. */
export function harMistakes(har: unknown): unknown[] {
  const validate = ajv.getSchema("har.json#");
  if (validate === undefined) throw new Error("har-schema has no har.json");
  return validate(har) ? [] : [...(validate.errors ?? [])];
}

const folder = dirname(fileURLToPath(import.meta.resolve("har-schema")));
const schemas = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => ({ ...JSON.parse(readFileSync(join(folder, name), "utf8")), $schema: undefined }));
const ajv = new Ajv({ strict: false, validateFormats: false, schemas });
