/** How many connections may be open at once; Infinity without a limit. */
export interface Limits {
  readonly inAll: number;
  readonly perEndpoint: number;
  /** The number for which the limit of open files has room. */
  readonly byDescriptors: number;
  /** The number for which the memory has room. */
  readonly byMemory: number;
}

export const unlimited: Limits = {
  inAll: Number.POSITIVE_INFINITY,
  perEndpoint: Number.POSITIVE_INFINITY,
  byDescriptors: Number.POSITIVE_INFINITY,
  byMemory: Number.POSITIVE_INFINITY,
};

export interface Excess {
  /** Names the limit, in words that do not change while it lasts. */
  readonly reason: string;
  readonly hint: string;
  /** Whether it is the limit of one endpoint alone. */
  readonly local: boolean;
}

/** Open connections. */
export interface Count {
  readonly inAll: number;
  /** Of the endpoint. */
  readonly here: number;
  /** How many of `inAll` have their descriptors in another process. */
  readonly elsewhere?: number;
}

/**
 * Pure: why one more connection is too many if so many are open; undefined if
 * it is allowed.
 */
export function excess({ inAll, here, elsewhere = 0 }: Count, limits: Limits): Excess | undefined {
  if (inAll - elsewhere >= limits.byDescriptors) {
    return {
      reason: "the limit of open files allows no more open connections",
      hint: "raise that limit: `LimitNOFILE=` in the systemd unit, or `ulimit -n`",
      local: false,
    };
  }
  if (inAll >= limits.byMemory) {
    return {
      reason: `${limits.byMemory} connections are open, and the memory has room for no more`,
      hint: "raise the memory, such as `MemoryMax=` of the systemd unit, or set `forward.max_connections`",
      local: false,
    };
  }
  if (inAll >= limits.inAll) {
    return {
      reason: `${limits.inAll} connections are open, and forward.max_connections allows no more`,
      hint: "raise `forward.max_connections`, or see with `ngrokd list --watch` which endpoint has them",
      local: false,
    };
  }
  if (here >= limits.perEndpoint) {
    return {
      reason: `${limits.perEndpoint} connections to it are open, and forward.max_connections_per_endpoint allows no more`,
      hint: "raise `forward.max_connections_per_endpoint`",
      local: true,
    };
  }
  return undefined;
}
