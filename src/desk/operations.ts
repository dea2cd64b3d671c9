/**
 * The desk: status, metrics, log lines and operations of a running daemon. This
 * table has every operation. The control socket, the CLI and the docs check
 * read it; handlers.ts has the function of each row.
 */
import * as z from "zod/mini";
import { exchangesSchema, replaySchema } from "./exchange-schemas.ts";
import { findingsSchema } from "./finding-schemas.ts";
import { connectionsSchema, eventsSchema, linkSchema, trafficSchema } from "./history-schemas.ts";
import {
  certificateReportSchema,
  healthSchema,
  listSchema,
  pauseSchema,
  refreshSchema,
  reloadSchema,
  statusSchema,
  upgradeSchema,
} from "./reply-schemas.ts";
import { summaries } from "./summaries.ts";

export interface Operation {
  /** One line for people. */
  readonly summary: string;
  /**
   * Whether it only reads, or changes the daemon or the machine. `owner`: only
   * root and the daemon's own user may ask for it.
   */
  readonly kind: "read" | "change" | "owner";
  /**
   * Its reply is about persons, such as the user of a connection. Other users
   * of this machine may not ask for it.
   */
  readonly isPersonal?: boolean;
  /**
   * Its reply has data of users' connections. Assistants may not ask for it.
   */
  readonly isContent?: boolean;
  /** The arguments, by name; each is a flag but for {@link word}. */
  readonly input: z.ZodMiniObject;
  /** The argument that is a word on a command line. */
  readonly word?: string;
  /** What each argument does. */
  readonly help: Readonly<Record<string, string>>;
  readonly reply: z.ZodMiniType;
  /** How long a client waits for the reply. Milliseconds. */
  readonly patienceMs: number;
}

const flag = z.optional(z.boolean());
/** The profile that is meant; see `--profile`. */
const profile = z.optional(z.string());
const profileHelp = { profile: "Only this profile of the configuration" };
const none = z.object({});
const host = z.optional(z.string());
const hostHelp = "Only this endpoint: its host name, or host:port";
/** A whole number, also as a word. */
const whole = (least: number, most: number) =>
  z.optional(z.coerce.number().check(z.int(), z.minimum(least), z.maximum(most)));
/** For the daemon's own memory and files. */
const short = 30_000;
/** For several calls of ngrok's API; the daemon bounds each of them. */
const long = 150_000;

const ofOneName = {
  kind: "change",
  input: z.object({ host: z.string() }),
  word: "host",
  help: { host: "The host name, or `*.zone` for a wildcard" },
  reply: pauseSchema,
  patienceMs: long,
} as const;

export const operations = {
  status: {
    summary: summaries.status,
    kind: "read",
    input: z.object({ profile }),
    help: profileHelp,
    reply: statusSchema,
    patienceMs: short,
  },
  list: {
    summary: summaries.list,
    kind: "read",
    input: z.object({ profile }),
    help: profileHelp,
    reply: listSchema,
    patienceMs: short,
  },
  health: {
    summary: summaries.health,
    kind: "read",
    input: z.object({ profile }),
    help: profileHelp,
    reply: healthSchema,
    patienceMs: short,
  },
  connections: {
    summary: summaries.connections,
    kind: "read",
    isPersonal: true,
    input: z.object({
      host,
      state: z.optional(z.enum(["open", "ended"])),
      limit: whole(1, 1000),
      before: whole(1, Number.MAX_SAFE_INTEGER),
    }),
    word: "host",
    help: {
      host: hostHelp,
      state: "Only those that are open, or that have ended",
      limit: "The most connections of the reply; 100 if it is not given",
      before: "Only connections older than this one `id`",
    },
    reply: connectionsSchema,
    patienceMs: short,
  },
  traffic: {
    summary: summaries.traffic,
    kind: "read",
    input: z.object({ host, seconds: whole(1, 900), step: whole(1, 900), each: flag }),
    word: "host",
    help: {
      host: hostHelp,
      seconds: "How far back it goes; 900 if it is not given",
      step: "The seconds of a slot; 15 if it is not given",
      each: "Also each endpoint with traffic by itself",
    },
    reply: trafficSchema,
    patienceMs: short,
  },
  events: {
    summary: summaries.events,
    kind: "read",
    isPersonal: true,
    input: z.object({
      host,
      after: z.optional(z.string()),
      kinds: z.optional(z.string()),
      limit: whole(1, 1000),
      wait: whole(0, 25),
    }),
    word: "host",
    help: {
      host: hostHelp,
      after: "The `next` of an earlier reply: only what came later",
      kinds: "Only these kinds, such as `poll,connection`",
      limit: "The most events of the reply; 100 if it is not given",
      wait: "If there are none, wait so many seconds for the next one",
    },
    reply: eventsSchema,
    patienceMs: short,
  },
  exchanges: {
    summary: summaries.exchanges,
    kind: "read",
    isPersonal: true,
    isContent: true,
    input: z.object({ host, after: whole(0, Number.MAX_SAFE_INTEGER), bodies: flag }),
    word: "host",
    help: {
      host: hostHelp,
      after: "The `next` of an earlier reply: only what came later; without it the last ones",
      bodies: "Also the bodies, as far as they are kept",
    },
    reply: exchangesSchema,
    patienceMs: short,
  },
  doctor: {
    summary: summaries.doctor,
    kind: "read",
    isPersonal: true,
    input: z.object({ host }),
    word: "host",
    help: { host: "Instead, each step to this endpoint: its host name, or host:port" },
    reply: findingsSchema,
    patienceMs: long,
  },
  replay: {
    summary: summaries.replay,
    kind: "change",
    input: z.object({ id: whole(0, Number.MAX_SAFE_INTEGER) }),
    word: "id",
    help: { id: "The number of the exchange" },
    reply: replaySchema,
    patienceMs: long,
  },
  dashboard: {
    summary: summaries.dashboard,
    kind: "change",
    input: z.object({ write: flag }),
    help: { write: "The page may change something: pause, refresh and the like" },
    reply: linkSchema,
    patienceMs: short,
  },
  refresh: {
    summary: summaries.refresh,
    kind: "change",
    input: z.object({ profile }),
    help: profileHelp,
    reply: refreshSchema,
    patienceMs: long,
  },
  reload: {
    summary: summaries.reload,
    kind: "change",
    input: none,
    help: {},
    reply: reloadSchema,
    patienceMs: short,
  },
  pause: { summary: summaries.pause, ...ofOneName },
  resume: { summary: summaries.resume, ...ofOneName },
  upgrade: {
    summary: summaries.upgrade,
    kind: "owner",
    input: z.object({ to: z.optional(z.string()) }),
    word: "to",
    help: { to: "The new program; default: the running one's own file" },
    reply: upgradeSchema,
    patienceMs: long,
  },
  "refresh-cert": {
    summary: summaries["refresh-cert"],
    kind: "change",
    input: z.object({ json: flag, force: flag, profile }),
    help: {
      json: "Reply with a report instead of a sentence",
      force: "Renew it even if it is not due yet",
      ...profileHelp,
    },
    // A sentence without `json`, as the Go program replies.
    reply: z.union([certificateReportSchema, z.string()]),
    patienceMs: long,
  },
  "set-api-key": {
    summary: summaries["set-api-key"],
    kind: "change",
    input: z.object({ key: z.string(), "switch-account": flag, profile }),
    word: "key",
    help: {
      key: "The key",
      "switch-account": "Move this machine to the key's account, if that is another one",
      ...profileHelp,
    },
    reply: z.string(),
    patienceMs: 60_000,
  },
} as const satisfies { readonly [name in keyof typeof summaries]: Operation };

export type OperationName = keyof typeof operations;
export type Input<N extends OperationName> = z.infer<(typeof operations)[N]["input"]>;
export type ReplyTo<N extends OperationName> = z.infer<(typeof operations)[N]["reply"]>;

/** In the table's order. */
export const operationNames = Object.keys(operations) as OperationName[];

/** Those that are served over HTTP: the owner's need the control socket. */
export const webOperationNames = operationNames.filter((name) => operations[name].kind !== "owner");

export const isOperation = (name: string): name is OperationName => Object.hasOwn(operations, name);
