import type { Client } from "../control/answering.ts";
import type { Request } from "../control/protocol.ts";
import type { Rights } from "../control/rights.ts";
import { NgrokdError } from "../model/error.ts";
import { type Desk, handlers } from "./handlers.ts";
import {
  type Input,
  isOperation,
  type Operation,
  type OperationName,
  operationNames,
  operations,
  type ReplyTo,
} from "./operations.ts";
import { inputOf } from "./words.ts";

/**
 * The control socket's handler: runs the operation that a request names.
 * Rejects with NgrokdError `usage` if there is no such operation, `permission`
 * if this client may only read, or with the operation's own error.
 */
export function createDispatch(desk: Desk): (request: Request, client: Client) => Promise<unknown> {
  return async ({ command, args }, { rights, isOwner }) => {
    if (!isOperation(command)) throw unknownOperation(command);
    const { kind }: Operation = operations[command];
    const isOwners = kind === "owner" && rights === "all";
    if (!isOwners && !isAllowed(command, rights)) throw notAllowed(command);
    if (isOwners && !(await isOwner())) throw onlyOwner(command);
    return await runOperation(desk, command, inputOf(operations[command], args ?? []));
  };
}

/**
 * Pure: whether a client with these rights may run an operation. Those of the
 * owner need another proof, which only the control socket has.
 */
export function isAllowed(name: OperationName, rights: Rights): boolean {
  const { kind, isPersonal = false }: Operation = operations[name];
  if (kind === "owner") return false;
  return rights === "all" || (kind === "read" && !isPersonal);
}

/**
 * Validates the input and runs one operation. Rejects with NgrokdError `usage`
 * if the input is not the operation's, or with the operation's own error.
 */
export async function runOperation<N extends OperationName>(
  desk: Desk,
  name: N,
  given: unknown,
): Promise<ReplyTo<N>> {
  const input = operations[name].input.safeParse(given);
  if (!input.success)
    throw new NgrokdError("usage", `The arguments of "${name}" are wrong`, { cause: input.error });
  return await handlers[name](desk, input.data as Input<N>);
}

const notAllowed = (command: OperationName): NgrokdError =>
  new NgrokdError(
    "permission",
    operations[command].kind === "read"
      ? `This user may not see who uses the endpoints: "${command}" is refused`
      : `This user may ask the daemon, and not change it: "${command}" is refused`,
    { hint: "use sudo, or let this user in: `sudo ngrokd service install --group-add NAME`" },
  );

const onlyOwner = (command: OperationName): NgrokdError =>
  new NgrokdError(
    "permission",
    `Only root and the daemon's own user may ask for "${command}", since it runs a program`,
    { hint: "use sudo" },
  );

function unknownOperation(command: string): NgrokdError {
  const [last, ...others] = [...operationNames].reverse();
  return new NgrokdError(
    "usage",
    `This daemon does not know the command ${JSON.stringify(command)}`,
    { hint: `it knows ${others.reverse().join(", ")} and ${last}` },
  );
}
