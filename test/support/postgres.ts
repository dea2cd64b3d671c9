import { existsSync } from "node:fs";
import { join } from "node:path";
import { atEnd } from "./story.ts";
import type { User } from "./user.ts";

const tools = "/usr/lib/postgresql/15/bin";

/**
 * A PostgreSQL server of this user until the chapter's end, whose user is `me`.
 * Undefined if PostgreSQL is not installed.
 */
export async function startPostgres(user: User): Promise<{ address: string } | undefined> {
  if (!existsSync(tools)) return undefined;
  const data = join(user.home, "data");
  const log = join(user.home, "log");
  const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=`;
  const control = ["-D", data, "-w", "-l", log];
  await done(user, [`${tools}/initdb`, "-D", data, "-U", "me", "-A", "trust"]);
  await done(user, [`${tools}/pg_ctl`, ...control, "-o", options, "start"]);
  atEnd(() => user.run([`${tools}/pg_ctl`, ...control, "-m", "immediate", "stop"]));
  return { address: `127.0.0.1:${port}` };
}

const port = 15_432;

async function done(user: User, command: readonly string[]): Promise<void> {
  const { code, err } = await user.run(command);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${err}`);
}
