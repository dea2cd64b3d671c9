import { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import { createSocket, type Socket } from "node:dgram";
import { clearTimeout, setTimeout } from "node:timers";
import packet from "dns-packet";

/** What the name servers say about a name. */
export type Answer =
  | { readonly kind: "addresses"; readonly addresses: readonly string[] }
  /** The name exists, without an address. */
  | { readonly kind: "empty" }
  /** There is no such name, and none below it. */
  | { readonly kind: "none" }
  /** No server has replied, or none knows. */
  | { readonly kind: "silent" };

/** Asks the name servers for the addresses of a name. Never rejects. */
export type Ask = (name: string, servers: readonly string[]) => Promise<Answer>;

/** For one server: a datagram may be lost, so it is sent once more. */
const againMs = 400;
const giveUpMs = 1000;
/** If the process stood still, the reply may wait in the socket. */
const lookAgainMs = 1;

/**
 * Asks one server after the other, as the system's resolver does. Not
 * getaddrinfo, which reads our own lines of the hosts file. Not node's
 * Resolver: in Bun 1.4.5 it waits for the whole time if no program listens on
 * the server's port.
 */
export const askServers: Ask = async (name, servers) => {
  for (const server of servers) {
    const answer = await askServer(name, server);
    if (answer.kind !== "silent") return answer;
  }
  return { kind: "silent" };
};

async function askServer(name: string, server: string): Promise<Answer> {
  const four = await askFor("A", name, server);
  // The name is there, so it may have an IPv6 address.
  return four.kind === "empty" ? await askFor("AAAA", name, server) : four;
}

const portOf = (server: string): { host: string; port: number } => {
  const [, host = server, port = "53"] = /^\[?([^\]]*?)\]?(?:#(\d{1,5}))?$/.exec(server) ?? [];
  return { host, port: Number(port) };
};

async function askFor(type: "A" | "AAAA", name: string, server: string): Promise<Answer> {
  const { host, port } = portOf(server);
  const question = packet.encode({
    type: "query",
    id: randomInt(0x10000),
    flags: packet.RECURSION_DESIRED,
    questions: [{ type, name }],
  });
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const silent = (): void => resolve({ kind: "silent" });
  const timers = [setTimeout(() => void timers.push(setTimeout(silent, lookAgainMs)), giveUpMs)];
  let socket: Socket | undefined;
  try {
    const open = createSocket(host.includes(":") ? "udp6" : "udp4");
    socket = open;
    open.on("error", silent);
    open.on("message", (bytes) => {
      const answer = answerIn(bytes, question, type);
      if (answer !== undefined) resolve(answer);
    });
    // Connected: only this server can reply, and a closed port is an error.
    open.connect(port, host, () => {
      const send = (): void => {
        try {
          open.send(question);
        } catch {
          silent();
        }
      };
      send();
      timers.push(setTimeout(send, againMs));
    });
    return await promise;
  } catch {
    return { kind: "silent" };
  } finally {
    for (const timer of timers) clearTimeout(timer);
    close(socket);
  }
}

function close(socket: Socket | undefined): void {
  try {
    socket?.close();
  } catch {
    // It is closed already.
  }
}

/**
 * Pure: the answer in a datagram; undefined if it is none to this question.
 * `SERVFAIL` and `REFUSED` are silence: another server may know.
 */
export function answerIn(
  bytes: Uint8Array,
  question: Uint8Array,
  type: "A" | "AAAA",
): Answer | undefined {
  try {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const reply = packet.decode(buffer);
    const asked = packet.decode(Buffer.from(question));
    const [mine, theirs] = [asked.questions?.[0], reply.questions?.[0]];
    const isSame = theirs?.name.toLowerCase() === mine?.name.toLowerCase();
    if (reply.type !== "response" || reply.id !== asked.id || !isSame) return undefined;
    const code = buffer.readUInt8(3) & 0xf;
    if (code === nxdomain) return { kind: "none" };
    if (code !== 0) return { kind: "silent" };
    const addresses = (reply.answers ?? []).flatMap((one) =>
      one.type === type && typeof one.data === "string" ? [one.data] : [],
    );
    return addresses.length > 0 || reply.flag_tc
      ? { kind: "addresses", addresses }
      : { kind: "empty" };
  } catch {
    return undefined;
  }
}

const nxdomain = 3;
