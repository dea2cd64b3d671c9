import {
  appendFileSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { run, start } from "./ngrokd.ts";
import { atEnd, until } from "./story.ts";
import { dial } from "./tcp.ts";

/**
 * The folder into which .ci/run unpacks OpenSSH's server. Installing it would
 * open port 22 of the real machine.
 */
const program = ["/usr/sbin/sshd", "/opt/ngrokd-tests/usr/sbin/sshd"].find(existsSync);

/** Why there can be no sshd here; empty if there can. */
export const noSshd =
  program === undefined
    ? "sshd is neither installed nor in /opt/ngrokd-tests"
    : Bun.which("ssh") === null
      ? "there is no ssh"
      : "";

export interface Sshd {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** The user who can log in with {@link key}. */
  readonly user: string;
  /** The file with a private key that logs in. It belongs to `owner`. */
  readonly key: string;
  /** A file for `UserKnownHostsFile`: the host's own key, for any name. */
  readonly knownHosts: string;
}

const builder = { name: "builder", id: 5004 };

/**
 * OpenSSH's server as the process of an ordinary user, who is the only one that
 * can log in there. It has its own keys and configuration. Only on the stories'
 * own machine.
 */
export async function startSshd(owner: number, port = 15_022): Promise<Sshd> {
  const home = "/run/tmp/sshd";
  mkdirSync(home, { mode: 0o755 });
  atEnd(forgetUsers(["/etc/passwd", "/etc/group"]));
  appendFileSync("/etc/passwd", `${builder.name}:x:${builder.id}:${builder.id}::${home}:/bin/sh\n`);
  appendFileSync("/etc/group", `${builder.name}:x:${builder.id}:\n`);
  const [host, key] = [join(home, "host"), "/run/tmp/ssh-key"];
  for (const file of [host, key])
    await setUp(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]);
  await setUp(["cp", `${key}.pub`, join(home, "authorized")]);
  const hostKey = await Bun.file(`${host}.pub`).text();
  const knownHosts = "/run/tmp/known-hosts";
  writeFileSync(knownHosts, `* ${hostKey}`);
  const settings = join(home, "config");
  writeFileSync(settings, settingsOf(home, port));
  for (const name of ["", "host", "host.pub", "authorized", "config"])
    chownSync(join(home, name), builder.id, builder.id);
  chownSync(key, owner, owner);
  const as = [`--reuid=${builder.id}`, `--regid=${builder.id}`, "--clear-groups"];
  start("sshd", ["setpriv", ...as, program ?? "", "-D", "-e", "-f", settings]);
  await until("sshd answers", async () => {
    const peer = await dial("127.0.0.1", port);
    const hello = await peer.read(8);
    peer.reset();
    return hello === "SSH-2.0-";
  });
  return { address: `127.0.0.1:${port}`, user: builder.name, key, knownHosts };
}

const settingsOf = (home: string, port: number): string => `ListenAddress 127.0.0.1:${port}
HostKey ${home}/host
AuthorizedKeysFile ${home}/authorized
AuthenticationMethods publickey
UsePAM no
PidFile none
StrictModes no
`;

function forgetUsers(files: readonly string[]): () => void {
  const before = files.map((file) => readFileSync(file));
  return () => {
    for (const [i, file] of files.entries()) writeFileSync(file, before[i] ?? "");
  };
}

async function setUp(command: readonly string[]): Promise<void> {
  const { code, err } = await run(command);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${err}`);
}
