/**
 * The meanings of the system's errors that calls on files and sockets can
 * return. The runtime's own texts contain temporary names, and differ between
 * runtimes.
 */
const sentences: Readonly<Record<string, string>> = {
  E2BIG: "an argument is too long",
  EACCES: "permission denied",
  EADDRINUSE: "the address is already in use",
  EADDRNOTAVAIL: "this machine has no such address",
  EAFNOSUPPORT: "this machine does not support addresses of this kind",
  EAGAIN: "the system has no room for it at the moment",
  EBADF: "the file was closed meanwhile",
  EBUSY: "it is a mount of its own, or in use",
  ECONNABORTED: "the connection was broken off",
  ECONNREFUSED: "connection refused",
  ECONNRESET: "the peer reset the connection",
  EDQUOT: "the disk quota is used up",
  EEXIST: "something of this name exists already",
  EFBIG: "the file would be larger than allowed",
  EHOSTDOWN: "the host is down",
  EHOSTUNREACH: "no route to the host",
  EINTR: "the call was interrupted",
  EINVAL: "the system does not accept this call here",
  EIO: "the disk reports an error",
  EISDIR: "it is a folder",
  ELOOP: "too many symbolic links",
  EMFILE: "this process has too many open files",
  EMLINK: "it has too many names",
  EMSGSIZE: "the message is too long",
  ENAMETOOLONG: "the path is too long",
  ENETDOWN: "the network is down",
  ENETUNREACH: "the network is unreachable",
  ENFILE: "this machine has too many open files",
  ENOBUFS: "this machine has no memory left for connections",
  ENODEV: "there is no such device",
  ENOENT: "no such file or folder",
  ENOLCK: "the system has no lock left",
  ENOMEM: "this machine has no memory left",
  ENOSPC: "no space left on the device",
  ENOSYS: "this system has no such call",
  ENOTCONN: "the connection is closed",
  ENOTDIR: "a part of the path is not a folder",
  ENOTEMPTY: "the folder is not empty",
  ENOTSUP: "the file system cannot do this",
  ENXIO: "there is no such device, or no program at its other end",
  EOPNOTSUPP: "the file system cannot do this",
  EPERM: "not permitted",
  EPIPE: "the other end is closed",
  EPROTO: "the other side broke the protocol",
  EPROTONOSUPPORT: "this machine does not support this protocol",
  EROFS: "the file system is read-only",
  ESTALE: "the file is gone from the network file system",
  ETIMEDOUT: "no answer in time",
  ETXTBSY: "it is a program that runs",
  EXDEV: "it is on another file system",
};

/**
 * The meaning of an error of the system, without any path. Undefined if `errno`
 * is not one, such as a code of TLS.
 */
export function errnoSentence(errno: string): string | undefined {
  const known = sentences[errno];
  if (known !== undefined) return known;
  return /^E[A-Z0-9]+$/.test(errno) ? `the system says ${errno}` : undefined;
}

/** `ENOENT`, `ECONNRESET`, … of a runtime's error; undefined for others. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}
