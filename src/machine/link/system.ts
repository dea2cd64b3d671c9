import type { MachineRoute, VirtualGround } from "../../exposure/ground.ts";
import type { AnyIp } from "../../model/ip.ts";

/**
 * The interfaces of an operating system. Each call is told the whole wanted
 * state, looks at the present one, and changes only the difference.
 */
export interface LinkSystem {
  /**
   * The routes of this machine, without those of our own interfaces. One of
   * this name that the Go program has left behind counts as ours.
   */
  routes(device: string): Promise<readonly MachineRoute[]>;
  /**
   * Makes the addresses of these grounds addresses of this machine, and takes
   * back those of all others. Rejects with NgrokdError; then nothing is held
   * for grounds that are new.
   */
  hold(grounds: readonly VirtualGround[]): Promise<Held>;
  /** Makes these addresses usable one by one, if a ground alone does not. */
  carry(addresses: readonly AnyIp[]): Promise<void>;
  /** Whether anything may have changed since the last question. */
  changed(): Promise<boolean>;
  /** Takes everything back. Never rejects. */
  close(): Promise<void>;
}

export interface Held {
  /** The parts that another program had removed, as nouns. */
  readonly mended: readonly string[];
  /** Interfaces of the Go program that were in the way. */
  readonly removed?: readonly string[];
  /** Why there are no IPv6 addresses; undefined if there are. */
  readonly withoutIp6: string | undefined;
}
