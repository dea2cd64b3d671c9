import { NgrokdError } from "../model/error.ts";
import { closing } from "../net/closing.ts";
import type { Address, Listener, Net, Routing } from "../net/types.ts";
import {
  activatedKey,
  controlKey,
  type Held,
  type Key,
  tcpKey,
  tunKey,
  udpKey,
} from "./handover.ts";

/** The open sockets of this process, and those that it has inherited. */
export interface Estate {
  /**
   * The net for the daemon. It goes on with an inherited socket if there is one
   * for the place, and knows all that it opens.
   */
  readonly net: Net;
  /** What another process can go on with. */
  readonly held: readonly Held[];
  /** Descriptors that {@link net} uses from now on. */
  inherit(held: readonly Held[]): void;
  /** Takes an inherited descriptor; it is the caller's then. */
  claim(key: Key): number | undefined;
  /** The keys of inherited descriptors that nothing has used. */
  readonly unclaimed: readonly Key[];
  /** Closes the descriptors of {@link unclaimed}. */
  discard(): void;
  /** Counts a socket that {@link net} has not opened. */
  keep(held: Held): void;
  /**
   * `changed` is called for every socket that opens or closes, until the
   * sockets belong to another process.
   */
  follow(changed: (change: Change) => void): void;
  /** Another process has the sockets now. */
  leave(): void;
}

export type Change =
  | ({ readonly kind: "opened" } & Held)
  | { readonly kind: "closed"; readonly key: Key };

export function createEstate(net: Net): Estate {
  const inherited = new Map<Key, number>();
  const open = new Map<Key, number>();
  let changed: (change: Change) => void = () => undefined;

  const books = createBooks(net, { inherited, open, changed: (change) => changed(change) });
  const { keep, claim } = books;
  return {
    net: netOf(net, books, inherited),
    get held() {
      return [...open].map(([key, fd]) => ({ key, fd }));
    },
    inherit(held) {
      for (const { key, fd } of held) {
        // A socket of a socket unit comes twice if systemd has stored it, too.
        if (inherited.has(key)) net.closeDescriptor(fd);
        else inherited.set(key, fd);
      }
    },
    claim,
    get unclaimed() {
      return [...inherited.keys()];
    },
    discard() {
      for (const [key, fd] of inherited) {
        net.closeDescriptor(fd);
        changed({ kind: "closed", key });
      }
      inherited.clear();
    },
    keep,
    follow(next) {
      changed = next;
      for (const [key, fd] of open) next({ kind: "opened", key, fd });
    },
    leave() {
      changed = () => undefined;
    },
  };
}

/** The descriptors and their keys. */
interface Books extends Pick<Estate, "claim" | "keep"> {
  closed(key: Key, fd: number): void;
  /** Opens a socket, or adopts an inherited one; an unusable one is closed. */
  opened<T extends { readonly fd: number | undefined; close(): void }>(
    key: Key,
    adopt: (fd: number) => Promise<T>,
    make: () => Promise<T>,
  ): Promise<T>;
}

function createBooks(
  net: Pick<Net, "closeDescriptor">,
  {
    inherited,
    open,
    changed,
  }: {
    readonly inherited: Map<Key, number>;
    readonly open: Map<Key, number>;
    readonly changed: (change: Change) => void;
  },
): Books {
  const books: Books = {
    keep({ key, fd }) {
      open.set(key, fd);
      changed({ kind: "opened", key, fd });
    },
    closed(key, fd) {
      // Another socket may have the place by now.
      if (open.get(key) !== fd) return;
      open.delete(key);
      changed({ kind: "closed", key });
    },
    claim(key) {
      const fd = inherited.get(key);
      inherited.delete(key);
      return fd;
    },
    async opened(key, adopt, make) {
      const fd = books.claim(key);
      const adopted = fd === undefined ? undefined : await adopt(fd).catch(() => undefined);
      if (fd !== undefined && adopted === undefined) net.closeDescriptor(fd);
      const socket = adopted ?? (await make());
      const own = socket.fd;
      if (own === undefined) return socket;
      return kept(books, socket, { key, fd: own });
    },
  };
  return books;
}

/** Keeps a socket in the books until it is closed. */
function kept<T extends { close(): void }>(books: Books, socket: T, { key, fd }: Held): T {
  books.keep({ key, fd });
  return closing(socket, () => books.closed(key, fd));
}

/** A net that goes on with inherited sockets, and keeps the books. */
function netOf(net: Net, books: Books, inherited: ReadonlyMap<Key, number>): Net {
  return {
    ...net,
    async listen(address, onConn, options) {
      if ("path" in address) return await net.listen(address, onConn, options);
      const key = tcpKey(address);
      if (options?.trial === true)
        return inherited.has(key) ? ours(address) : await net.listen(address, onConn, options);
      return await books.opened(
        key,
        (fd) => net.adopt(fd, onConn, options),
        () => net.listen(address, onConn, options),
      );
    },
    udp: (address, onDatagram) =>
      books.opened(
        udpKey(address),
        (fd) => net.adoptUdp(fd, onDatagram),
        () => net.udp(address, onDatagram),
      ),
    async routing() {
      return routingOf(await net.routing(), books, inherited);
    },
  };
}

/** A place that is free for us, since we have inherited it. */
const ours = (address: Address): Listener => ({ address, fd: undefined, close: () => undefined });

function routingOf(routing: Routing, books: Books, inherited: ReadonlyMap<Key, number>): Routing {
  return {
    ...routing,
    get inherited() {
      return [...inherited.keys()]
        .filter((key) => key.startsWith(tunKey("")))
        .map((key) => key.slice(tunKey("").length));
    },
    tun(name) {
      const key = tunKey(name);
      const fd = books.claim(key);
      const tun = fd === undefined ? routing.tun(name) : routing.adoptTun(fd);
      return kept(books, tun, { key, fd: tun.fd });
    },
  };
}

/** Throws `refused` if this runtime cannot pass its sockets on. */
export function requirePassable({ held }: Pick<Estate, "held">): void {
  if (held.some(({ key }) => key === controlKey || key === activatedKey)) return;
  throw new NgrokdError("refused", "Cannot hand over: this runtime does not tell its descriptors", {
    hint: "ngrokd's own program for Linux does",
  });
}
