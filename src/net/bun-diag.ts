/**
 * Asks the kernel for the owner of a socket, by sock_diag(7). One question and
 * its answer take some microseconds, and the kernel answers within the call.
 */

import {
  createAddressBytes,
  createDiagRequest,
  type DiagReply,
  diagReply,
  type Ends,
  writeDiagRequest,
} from "../linux/sock-diag.ts";
import { type Libc, libcNow } from "./bun-libc.ts";

/** Asks about a socket; `unusable` if the kernel gives no answer. */
export type AskDiag = (ends: Ends) => Exclude<DiagReply, { kind: "stray" }>;

/** AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG; MSG_DONTWAIT. */
const [netlink, datagrams, sockDiag, dontWait] = [16, 2 | 0o2000000, 4, 0x40];

/** Answers of earlier questions that are skipped. */
const mostStray = 8;

/**
 * The socket stays open for the whole process. Undefined if this system has
 * none.
 */
export async function openDiag(): Promise<AskDiag | undefined> {
  if (process.platform !== "linux") return undefined;
  try {
    const libc = await libcNow();
    const descriptor = libc.socket(netlink, datagrams, sockDiag);
    return descriptor < 0 ? undefined : asker(libc, descriptor);
  } catch {
    return undefined;
  }
}

/** Each new connection may need a question, so nothing is made for one. */
function asker({ send, recv }: Libc, descriptor: number): AskDiag {
  const [request, answer] = [createDiagRequest(), new Uint8Array(8192)];
  const bytesOf = createAddressBytes();
  let sequence = 0;
  return (ends) => {
    sequence = (sequence + 1) >>> 0;
    if (!writeDiagRequest(request, ends, sequence, bytesOf)) return unusable;
    const sent = send(descriptor, request, request.length, dontWait);
    if (Number(sent) !== request.length) return unusable;
    for (let count = 0; count < mostStray; count += 1) {
      const length = Number(recv(descriptor, answer, answer.length, dontWait));
      if (length <= 0) return unusable;
      const reply = diagReply(answer, request, length);
      if (reply.kind !== "stray") return reply as Exclude<DiagReply, { kind: "stray" }>;
    }
    return unusable;
  };
}

const unusable = { kind: "unusable" } as const;
