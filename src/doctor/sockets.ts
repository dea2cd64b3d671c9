/** Who listens at an address. */
import type { ListeningSocket } from "../net/proc-net.ts";

/** The sockets that can accept a connection to this address and port. */
export const socketsAt = (
  sockets: readonly ListeningSocket[],
  ip: string,
  port: number,
): ListeningSocket[] =>
  sockets.filter((socket) => socket.port === port && (socket.host === ip || socket.host === "*"));
