import { basename } from "node:path";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { type Candidate, candidatesFor } from "./candidates.ts";
import { type Command, command, type Io, type Tree } from "./command.ts";
import { type Shell, scripts } from "./completion-scripts.ts";
import { daemonAt } from "./daemon-socket.ts";

const shells = Object.keys(scripts) as Shell[];

/** The command knows all commands by the tree that it is part of. */
export const completion = (tree: Tree): Command =>
  command({
    name: "completion",
    description: "Print the script that completes ngrokd's words in a shell",
    args: {
      shell: {
        type: "positional",
        required: false,
        description: "bash, zsh, fish or powershell; that of $SHELL if it is left out",
      },
      new: {
        type: "boolean",
        description: "For the scripts: `completion words --new -- WORD…` completes a new word",
      },
    },
    examples: ["ngrokd completion bash", "ngrokd completion words -- list --js"],
    async run(args, io, rawArgs) {
      const at = rawArgs.indexOf("--");
      if (args.shell === "words" && at !== -1) {
        const words = [...rawArgs.slice(at + 1), ...(args.new === true ? [""] : [])];
        return await complete(words, tree, io);
      }
      const shell = args.shell ?? basename(io.env.SHELL ?? "");
      const known = shells.find((one) => one === shell);
      if (known === undefined) {
        const fault =
          args.shell === undefined ? "Missing the shell" : `Unknown shell ${quote(shell)}`;
        throw new NgrokdError("usage", fault, { hint: `it is one of: ${shells.join(", ")}` });
      }
      io.say.result({ shell: known, script: scripts[known] }, scripts[known].trimEnd());
      return undefined;
    },
  });

async function complete(words: readonly string[], tree: Tree, io: Io): Promise<undefined> {
  const found = await candidatesFor(words, tree, () => endpointNames(words, io));
  const lines = found.words.map(({ word, about }) =>
    `${word} ${about.replaceAll(/\s+/g, " ")}`.trim(),
  );
  if (found.files) lines.push(":files");
  if (lines.length > 0) io.say.result(found, lines.join("\n"));
  return undefined;
}

/** A shell waits for them, so the daemon has half a second. */
const patienceMs = 500;

/** The names that a running daemon serves; none without one. */
async function endpointNames(words: readonly string[], io: Io): Promise<Candidate[]> {
  const givenTo = (flag: string): string | undefined => {
    const i = words.findIndex((word) => word === flag || word.startsWith(`${flag}=`));
    const word = words[i];
    return word?.includes("=") ? word.slice(flag.length + 1) : words[i + 1];
  };
  const place = {
    ...(words.some((word) => word.startsWith("--socket")) && { socket: givenTo("--socket") }),
    ...(words.some((word) => word.startsWith("--config")) && { config: givenTo("--config") }),
  };
  try {
    const items = await daemonAt(place, io)("list", {}, { patienceMs });
    const plain = items.filter(({ hostname }) => !hostname.includes("*"));
    const names = new Map(plain.map(({ hostname, url }) => [hostname, url]));
    return [...names].map(([word, about]) => ({ word, about }));
  } catch {
    return [];
  }
}
