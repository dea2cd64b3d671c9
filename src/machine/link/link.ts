/**
 * machine/link/ gives the names addresses outside loopback: an interface of our
 * own on Linux, aliases on macOS. link.ts keeps it right over the life of the
 * daemon, linux.ts and darwin.ts change the system, and exposure/ground
 * decides.
 */
import {
  decideGround,
  type Ground,
  type GroundWish,
  groundHas,
  groundText,
  loopbackGround,
  needsDevice,
  ownAddresses,
  sameGround,
  type VirtualGround,
} from "../../exposure/ground.ts";
import { hintOf, reasonOf } from "../../model/error.ts";
import type { AnyIp, Ip, Prefix6 } from "../../model/ip.ts";
import type { Log } from "../../model/log.ts";
import { createSerial } from "../../model/serial.ts";
import { afterRepair, type Contest, mayRepair, noContest } from "../contest.ts";
import type { LinkSystem } from "./system.ts";

export interface Link {
  /** Where the addresses come from now. */
  readonly ground: Ground;
  /** Why it is not as configured, and what else to know; sentences. */
  readonly remarks: readonly string[];
  /** The interfaces of ours that exist now. */
  readonly devices: readonly string[];
  /**
   * Makes the ground of a wish real, or falls back to loopback with a remark.
   * The ground before stays until nothing uses it. Never rejects.
   */
  settle(wish: GroundWish): Promise<void>;
  /** Makes these addresses usable before a door opens. */
  carry(addresses: readonly AnyIp[]): Promise<void>;
  /**
   * Looks at the machine again, puts back what another program removed, and
   * drops grounds without users. Returns whether the ground is another one now:
   * then a pass has to follow. Never rejects.
   */
  guard(used: () => Iterable<AnyIp>): Promise<boolean>;
  /** Takes everything back. Never rejects. */
  close(): Promise<void>;
}

export interface LinkOptions {
  /**
   * Access to the interfaces of this system; asked only if an interface is
   * wanted. Rejects with NgrokdError.
   */
  readonly system: () => Promise<LinkSystem>;
  readonly prefix: () => Prefix6;
  /** The name servers of this machine. */
  readonly servers: () => readonly Ip[];
  /** A saved address, by which `auto` keeps to its subnet. */
  readonly saved: () => Ip | undefined;
  readonly log: Log;
  /** Milliseconds of a monotonic clock; for tests. */
  readonly now?: () => number;
}

export function createLink(options: LinkOptions): Link {
  const { now = () => performance.now() } = options;
  const state: State = {
    ...options,
    now,
    opened: undefined,
    wish: undefined,
    ground: loopbackGround,
    old: [],
    remarks: [],
    failedAt: undefined,
    stale: false,
    contest: noContest,
  };
  const inTurn = createSerial();
  return {
    get ground() {
      return state.ground;
    },
    get remarks() {
      return state.remarks;
    },
    get devices() {
      return [...new Set(heldBy(state).map(({ device }) => device))];
    },
    settle: (wish) =>
      inTurn(async () => {
        state.wish = wish;
        await settle(state);
      }),
    carry: (addresses) =>
      inTurn(async () => {
        if (state.ground.kind === "virtual") await state.opened?.carry(addresses);
      }),
    guard: (used) => inTurn(() => guard(state, used)),
    close: () => inTurn(() => close(state)),
  };
}

interface State extends LinkOptions {
  readonly now: () => number;
  opened: LinkSystem | undefined;
  wish: GroundWish | undefined;
  ground: Ground;
  /** Earlier grounds on which connections may still drain. */
  old: readonly VirtualGround[];
  remarks: readonly string[];
  /** When the interface was last refused; undefined if it was not. */
  failedAt: number | undefined;
  /** The system has told of a change that is not looked at yet. */
  stale: boolean;
  contest: Contest;
}

/** How soon a refused interface is tried again, in milliseconds. */
const retryMs = 60_000;

async function settle(state: State): Promise<void> {
  const { wish, log } = state;
  if (wish === undefined) return;
  state.stale = false;
  const before = state.ground;
  const { ground, remarks } = await realGround(state, wish);
  const told = state.remarks;
  state.ground = ground;
  state.remarks = remarks;
  for (const remark of remarks) if (!told.includes(remark)) log.warn(remark);
  if (sameGround(before, ground)) return;
  if (before.kind === "virtual") state.old = [...state.old, before];
  state.old = state.old.filter((one) => !sameGround(one, ground));
  if (before.kind === "loopback" && ground.kind === "loopback") return;
  const what = ground.kind === "virtual" ? "a virtual interface" : "loopback";
  log.info(`The addresses of the names come from ${what}: ${groundText(ground)}`);
}

/** The decided ground, made real; loopback if that fails. */
async function realGround(
  state: State,
  wish: GroundWish,
): Promise<{ ground: Ground; remarks: readonly string[] }> {
  state.failedAt = undefined;
  const decide = (routes: Awaited<ReturnType<LinkSystem["routes"]>>) =>
    decideGround(wish, {
      routes,
      prefix: state.prefix(),
      servers: state.servers(),
      saved: savedNow(state),
    });
  if (!needsDevice(wish)) return decide([]);
  try {
    state.opened ??= await state.system();
    const decision = decide(await state.opened.routes(wish.device));
    if (decision.ground.kind === "loopback") return decision;
    const { ground } = decision;
    const others = heldBy(state).filter((one) => !sameGround(one, ground));
    const { mended, removed = [], withoutIp6 } = await state.opened.hold([...others, ground]);
    for (const name of removed)
      state.log.info(`Removed the interface "${name}" that the Go program had left behind`);
    noteMended(state, mended);
    if (withoutIp6 === undefined || ground.range6 === undefined) return decision;
    const remark = `Names get no IPv6 addresses: ${withoutIp6}`;
    return {
      ground: { ...ground, range6: undefined },
      remarks: [...decision.remarks, ...(wish.subnet6 === "auto" ? [] : [remark])],
    };
  } catch (error) {
    state.failedAt = state.now();
    const hint = hintOf(error);
    const why = `${reasonOf(error)}${hint === "" ? "" : ` (${hint})`}`;
    return {
      ground: loopbackGround,
      remarks: [`${why}; names get loopback addresses instead`],
    };
  }
}

/** While the daemon runs, `auto` stays with its subnet. */
const savedNow = ({ ground, saved }: State): Ip | undefined =>
  ground.kind === "virtual" ? ownAddresses(ground).ip : saved();

async function guard(state: State, used: () => Iterable<AnyIp>): Promise<boolean> {
  const { opened, wish } = state;
  if (wish === undefined || (!needsDevice(wish) && state.old.length === 0)) return false;
  await dropUnused(state, used);
  const before = state.ground;
  const isDue = state.failedAt !== undefined && state.now() - state.failedAt >= retryMs;
  // The system tells of a change only once, and the contest may have to wait.
  if (await opened?.changed().catch(() => true)) state.stale = true;
  if ((state.stale || isDue) && mayRepair(state.contest, state.now())) await settle(state);
  return !sameGround(before, state.ground);
}

async function dropUnused(state: State, used: () => Iterable<AnyIp>): Promise<void> {
  if (state.old.length === 0) return;
  const ips = [...used()];
  const kept = state.old.filter((ground) =>
    ips.some((ip) => groundHas(ground, ip) && !groundHas(state.ground, ip)),
  );
  if (kept.length === state.old.length) return;
  state.old = kept;
  await state.opened?.hold(heldBy(state)).catch((error: unknown) => {
    state.log.warn(reasonOf(error));
  });
}

function noteMended(state: State, mended: readonly string[]): void {
  if (mended.length === 0) return;
  state.contest = afterRepair(state.contest, state.now());
  const parts = [...new Set(mended)].join(" and ");
  const what = `The ${parts} of ngrokd's virtual interface was removed by another program`;
  const later = mayRepair(state.contest, state.now())
    ? ""
    : ". This happens again and again, so ngrokd waits before the next repair";
  state.log.warn(`${what}, and is there again${later}`);
}

async function close(state: State): Promise<void> {
  state.wish = undefined;
  state.ground = loopbackGround;
  state.old = [];
  await state.opened?.close().catch(() => undefined);
  state.opened = undefined;
}

const heldBy = ({ old, ground }: State): VirtualGround[] =>
  ground.kind === "virtual" ? [...old, ground] : [...old];
