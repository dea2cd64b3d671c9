import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { type Running, run, start } from "./ngrokd.ts";
import { layOverUsrBin } from "./stand-ins.ts";
import { atEnd, until } from "./story.ts";

/**
 * The folder into which .ci/run unpacks systemd-resolved. Installing it would
 * take over the resolver of the real machine.
 */
const unpacked = ["/", "/opt/ngrokd-tests/"].find((root) =>
  existsSync(`${root}lib/systemd/systemd-resolved`),
);

/** Why there can be no systemd-resolved here; empty if there can. */
export const noResolved =
  unpacked === undefined
    ? "systemd-resolved is neither installed nor in /opt/ngrokd-tests"
    : Bun.which("dbus-daemon") === null
      ? "there is no dbus-daemon"
      : "";

export interface Resolved {
  /** Kills it, and starts another one, which knows nothing. */
  restart(): Promise<void>;
  /** The output of `resolvectl` with these words. */
  ctl(words: string): Promise<string>;
}

/**
 * A real systemd-resolved with a message bus, and (`withLink`) a link `ngrokd0`
 * that it can be told about. Only on the stories' own machine.
 */
export async function startResolved({ withLink = true } = {}): Promise<Resolved> {
  if (!existsSync("/usr/bin/resolvectl"))
    layOverUsrBin({ resolvectl: `exec ${unpacked}usr/bin/resolvectl "$@"\n` });
  for (const folder of ["/run/dbus", "/run/systemd/resolve", "/run/systemd/netif/links"])
    mkdirSync(folder, { recursive: true });
  user("systemd-resolve", 996);
  await run(["chown", "996:996", "/run/systemd/resolve"]);
  writeFileSync("/run/bus.conf", busConfig);
  if (withLink) await makeLink();
  rmSync("/run/dbus/system_bus_socket", { force: true });
  start("the message bus", [
    "dbus-daemon",
    "--config-file=/run/bus.conf",
    "--nofork",
    "--nopidfile",
  ]);
  await until("the bus is there", () => existsSync("/run/dbus/system_bus_socket"));
  let running = await startOne();
  writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.53\n");
  atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
  return {
    async restart() {
      await running.stop("SIGKILL");
      // As after an upgrade that forgets its state.
      await run(["rm", "-rf", "/run/systemd/resolve/netif"]);
      running = await startOne();
    },
    ctl: async (words) => (await run(["/usr/bin/resolvectl", ...words.split(" ")])).out.trim(),
  };
}

async function makeLink(): Promise<void> {
  await setUp("ip link add ngrokd0 type veth peer name ngrokd0-far");
  await setUp("ip link set ngrokd0-far up");
  await setUp("ip link set ngrokd0 up");
  await setUp("ip address add 127.7.0.1/32 scope global dev ngrokd0");
  atEnd(() => run(["ip", "link", "delete", "ngrokd0"]));
}

async function startOne(): Promise<Running> {
  const running = start("systemd-resolved", [`${unpacked}lib/systemd/systemd-resolved`]);
  await until(
    "systemd-resolved answers",
    async () => (await run(["/usr/bin/resolvectl", "domain"])).code === 0,
  );
  return running;
}

async function setUp(command: string): Promise<void> {
  const { code, err } = await run(command.split(" "));
  if (code !== 0) throw new Error(`${command}: ${err}`);
}

function user(name: string, id: number): void {
  if (readFileSync("/etc/passwd", "utf8").includes(`${name}:`)) return;
  appendFileSync("/etc/passwd", `${name}:x:${id}:${id}::/:/usr/sbin/nologin\n`);
  appendFileSync("/etc/group", `${name}:x:${id}:\n`);
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
    <allow user="*"/>
  </policy>
</busconfig>
`;
