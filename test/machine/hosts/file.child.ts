/**
 * Runs updateHostsFile in a process of its own (a mount namespace, another
 * user). Prints the result as one line of JSON.
 */
import { readFile } from "node:fs/promises";
import { updateHostsFile } from "../../../src/machine/hosts/file.ts";
import { NgrokdError } from "../../../src/model/error.ts";
import { mapping } from "../support.ts";

const [path = "", stateFolder = "", entries = "{}", inPlace = "auto", uid = "0"] =
  process.argv.slice(2);
if (uid !== "0") process.setuid?.(Number(uid));
const outcome = await updateHostsFile(path, mapping(JSON.parse(entries)), {
  stateFolder,
  ...(inPlace === "auto" ? {} : { inPlace: true }),
}).catch((error) => {
  if (!(error instanceof NgrokdError)) throw error;
  return { code: error.code, message: error.message, hint: error.hint };
});
console.log(JSON.stringify({ outcome, text: await readFile(path, "latin1") }));
