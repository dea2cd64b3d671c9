import type { HostPort } from "../model/host-port.ts";
import { checkListenable, ipAddress, ipFor } from "./addresses.ts";
import { descriptorOf } from "./bun-stage.ts";
import { listenFailed } from "./errors.ts";
import { deliver } from "./hand-over.ts";
import type { OnDatagram, UdpSocket } from "./types.ts";

/**
 * {@link Net.udp} on Bun's own sockets, or {@link Net.adoptUdp} of the
 * descriptor `fd`.
 */
export async function bunUdp(
  address: HostPort,
  onDatagram: OnDatagram,
  fd?: number,
): Promise<UdpSocket> {
  checkListenable(address, undefined);
  let dropped = 0;
  let closed = false;
  const drop = (): void => {
    dropped += 1;
  };
  const receive: OnDatagram = (bytes, from) => deliver(onDatagram, [bytes, from], drop);
  const socket = await bind(address, receive, drop, fd);
  return {
    address: { host: address.host, port: socket.port },
    fd: descriptorOf(socket),
    get dropped() {
      return dropped;
    },
    send(bytes, to) {
      const host = ipFor(address.host, to.host);
      const sent = host !== undefined && !closed && isSent(() => socket.send(bytes, to.port, host));
      if (!sent) drop();
      return sent;
    },
    close() {
      closed = true;
      socket.close();
    },
  };
}

async function bind(
  address: HostPort,
  receive: OnDatagram,
  drop: () => void,
  fd: number | undefined,
): Promise<Bun.udp.Socket<"uint8array">> {
  try {
    // Bun knows the option `fd`, though its types do not.
    const place = fd === undefined ? { hostname: address.host, port: address.port } : { fd };
    return await Bun.udpSocket({
      ...place,
      binaryType: "uint8array",
      socket: {
        data: (_socket, bytes, port, host) => void receive(bytes, ipAddress(host, port)),
        // Such as an ICMP message: a datagram was not received.
        error: drop,
      },
    });
  } catch (error) {
    throw listenFailed(address, error);
  }
}

/** False without room, and for everything that the system refuses to send. */
function isSent(send: () => boolean): boolean {
  try {
    return send();
  } catch {
    return false;
  }
}
