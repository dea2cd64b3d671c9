import { hostname } from "node:os";
import { type Api, createApi } from "../cloud/api.ts";
import { census, type OurOperator } from "../cloud/census.ts";
import { identityPaths, operatorIdIn, readIdentityFiles } from "../cloud/identity-files.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import { loadConfig } from "../config/load.ts";
import { chosenProfile } from "../config/profiles.ts";
import { parseApiKey } from "../model/api-key.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { readable } from "../model/parsed.ts";
import { createFetch } from "../net/fetch.ts";
import type { Paint } from "../terminal/say.ts";
import { table } from "../terminal/table.ts";
import { userAgent } from "../version.ts";
import { command, profileArg } from "./command.ts";
import { confirm } from "./confirm.ts";

export default command({
  name: "operators",
  description:
    "List the operators of ngrokd and the Go program in your account, and mark stale ones",
  args: {
    ...profileArg,
    prune: {
      type: "boolean",
      description: "Show the operators with an expired certificate, and delete them",
    },
    "same-name": {
      type: "boolean",
      description: "With --prune: also the others that have this machine's host name",
    },
    yes: { type: "boolean", alias: "y", description: "Delete without asking" },
  },
  examples: ["ngrokd operators", "sudo ngrokd operators --prune"],
  async run(args, io) {
    const { say } = io;
    const sameName = args["same-name"] === true;
    if (sameName && args.prune !== true) {
      throw new NgrokdError("usage", "--same-name has no effect without --prune", {
        hint:
          "`ngrokd operators` lists all operators; " +
          "`ngrokd operators --prune --same-name` shows those with this host name " +
          "and deletes them",
      });
    }
    const loaded = await loadConfig({ file: args.config, env: io.env });
    const { config, path, proxy } = chosenProfile(loaded, args.profile);
    const key = parseApiKey(config.api.key);
    if (!key.ok)
      throw new NgrokdError("state", `There is no API key in "${path}"`, {
        hint: "run `ngrokd set-api-key`",
      });
    const api = createApi({
      url: config.api.url,
      key: key.value,
      userAgent: userAgent(),
      fetch: createFetch(io.net, proxy),
    });
    const operatorId = operatorIdIn(await readIdentityFiles(identityPaths(config.server)));
    const found = census(
      await io.say.awaiting("Asking ngrok", () => api.operators()),
      { hostname: hostname(), operatorId },
      new Date(),
    );
    if (args.prune !== true) {
      say.result(found.map(operatorJson), () => operatorsText(found, say.paint));
      return undefined;
    }
    if (sameName && operatorId === undefined) {
      throw new NgrokdError(
        "usage",
        "--same-name needs a registered machine: " +
          "without an identity, its own operator cannot be told from the others",
        {
          hint:
            "the daemon restores a lost identity at its next start, " + "if the key still exists",
        },
      );
    }
    const stale = found.filter(
      ({ kind }) => kind === "expired" || (sameName && kind === "same name"),
    );
    if (stale.length > 0 && args.yes !== true) {
      say.note(operatorsText(stale, say.paint));
      await confirm(
        `Delete ${counted(stale)}?`,
        `ngrokd operators --prune${sameName ? " --same-name" : ""} --yes`,
        io,
      );
    }
    const failures = await say.awaiting(`Deleting ${counted(stale)} at ngrok`, () =>
      prune(api, stale),
    );
    say.result(
      {
        deleted: stale.map(({ id }) => id).filter((id) => !failures.has(id)),
        failed: Object.fromEntries(failures),
      },
      () =>
        [
          stale.length === 0
            ? "There is nothing to delete."
            : `Deleted ${stale.length - failures.size} of ${counted(stale)}.`,
          ...[...failures].map(([id, reason]) => `${say.paint.bad("failed")}  ${id}: ${reason}`),
        ].join("\n"),
    );
    return failures.size === 0 ? 0 : 1;
  },
});

/**
 * Deletes the operators one after the other: deleting is rare, and ngrok limits
 * the rate. Returns the ids that could not be deleted, with the reason.
 */
async function prune(api: Api, stale: readonly OurOperator[]): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  for (const { id } of stale) {
    await api.deleteOperator(id).catch((error: unknown) => {
      if (!isUnknownToNgrok(error)) failures.set(id, reasonOf(error));
    });
  }
  return failures;
}

/** Pure: the table of `ngrokd operators`, with advice for stale ones. */
export function operatorsText(operators: readonly OurOperator[], paint: Paint): string {
  if (operators.length === 0)
    return "Neither ngrokd nor the Go program has made operators in this account.";
  const rows = operators.map(({ id, madeBy, hostname, createdAt, notAfter, kind }) => [
    id,
    madeBy,
    hostname === "" ? "-" : readable(hostname),
    createdAt.slice(0, 10),
    notAfter === undefined ? "none" : notAfter.toISOString().slice(0, 10),
    kindText(kind, paint),
  ]);
  const hints = [
    operators.some(({ kind }) => kind === "expired")
      ? "`ngrokd operators --prune` deletes the expired ones."
      : "",
    operators.some(({ kind }) => kind === "same name")
      ? "Operators of the same name may be of an earlier installation here, " +
        "or of another machine with this host name.\n" +
        "If there is no such machine, `ngrokd operators --prune --same-name` deletes them too."
      : "",
  ].filter((text) => text !== "");
  return [
    table(["OPERATOR", "MADE BY", "HOST", "MADE", "VALID UNTIL", ""], rows, paint),
    ...(hints.length === 0 ? [] : ["", ...hints]),
  ].join("\n");
}

function kindText(kind: OurOperator["kind"], paint: Paint): string {
  if (kind === "this machine") return paint.good(kind);
  return kind === "expired" ? paint.bad(kind) : kind === "same name" ? paint.careful(kind) : "";
}

function operatorJson(operator: OurOperator): object {
  const { id, madeBy, hostname, version, createdAt, notAfter, kind } = operator;
  const not_after = notAfter?.toISOString() ?? null;
  return {
    id,
    made_by: madeBy,
    hostname,
    version,
    created_at: createdAt,
    certificate_not_after: not_after,
    kind,
    stale: kind === "expired",
  };
}

const counted = ({ length }: readonly unknown[]): string =>
  `${length} ${length === 1 ? "operator" : "operators"}`;
