import { createSocket } from "node:dgram";
import { checkListenable, ipAddress, ipFor } from "./addresses.ts";
import { listenFailed } from "./errors.ts";
import { deliver } from "./hand-over.ts";
import type { Net, UdpSocket } from "./types.ts";

/** {@link Net.udp} on node:dgram. */
export const nodeUdp: Net["udp"] = async (address, onDatagram): Promise<UdpSocket> => {
  checkListenable(address, undefined);
  let dropped = 0;
  let closed = false;
  const drop = (): void => {
    dropped += 1;
  };
  const socket = createSocket(address.host.includes(":") ? "udp6" : "udp4");
  socket.on("message", (bytes, { address: host, port }) =>
    deliver(onDatagram, [bytes, ipAddress(host, port)], drop),
  );
  const listening = Promise.withResolvers<void>();
  socket.once("listening", listening.resolve).once("error", listening.reject);
  try {
    socket.bind({ address: address.host, port: address.port, exclusive: true });
    await listening.promise;
  } catch (error) {
    socket.close();
    throw listenFailed(address, error);
  }
  socket.on("error", drop);
  return {
    address: { host: address.host, port: socket.address().port },
    fd: undefined,
    get dropped() {
      return dropped;
    },
    send(bytes, to) {
      const host = ipFor(address.host, to.host);
      if (host === undefined || closed) {
        drop();
        return false;
      }
      // The kernel's reply comes later, and is only counted.
      socket.send(bytes, to.port, host, (error) => {
        if (error !== null) drop();
      });
      return true;
    },
    close() {
      closed = true;
      socket.close();
    },
  };
};
