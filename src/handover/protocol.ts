// The small zod, as for the control socket.
import * as z from "zod/mini";
import { NgrokdError } from "../model/error.ts";
import type { Key } from "./handover.ts";

/**
 * The handover as plain data. The successor sends a request to the control
 * socket, as any client; then both write lines of JSON. A change that an older
 * or a newer ngrokd would not understand needs another number.
 */
export const protocolVersion = 1;

/** Commands of the control socket that only a successor knows. */
export const takeOverCommand = "handover";
export const descriptorsCommand = "handover-descriptors";

/** How a program learns that it is a successor. */
export const successorVariable = "NGROKD_HANDOVER";

/**
 * `beside`: the successor takes over while the old daemon runs. `rehearsal`: it
 * only shows that it could start.
 */
export type Way = "beside" | "rehearsal";

export interface Invitation {
  readonly protocol: number;
  readonly way: Way;
  /** A secret of this one handover. */
  readonly token: string;
  /** The control socket of the old daemon. */
  readonly socket: string;
}

/** Pure: for the environment of the successor. */
export const invitationText = ({ protocol, way, token, socket }: Invitation): string =>
  `${protocol}:${way}:${token}:${socket}`;

/** Pure: undefined if the text is none. */
export function invitationIn(text: string | undefined): Invitation | undefined {
  const [, protocol, way, token, socket] =
    /^(\d+):(beside|rehearsal):([0-9a-f]{64}):(.+)$/.exec(text ?? "") ?? [];
  if (token === undefined || socket === undefined) return undefined;
  return { protocol: Number(protocol), way: way as Way, token, socket };
}

const histogram = z.object({ counts: z.array(z.number()), sum: z.number() });

const meterSchema = z.object({
  active: z.number(),
  total: z.number(),
  bytesUp: z.number(),
  bytesDown: z.number(),
  refused: z.number(),
  refusedBy: z.record(z.string(), z.number()),
  errors: z.number(),
  errorsBy: z.record(z.string(), z.number()),
  upgrade: histogram,
  firstByte: histogram,
  lastActivity: z.number(),
  lastError: z.string(),
  /** An older program has none. */
  lastNotice: z._default(z.string(), ""),
});

/** By the key of the binding. */
const metersSchema = z.record(z.string(), meterSchema);

const nullableNumber = z.nullable(z.number());

/** The last connections, and traffic by second: see src/history/legacy.ts. */
const legacySchema = z.object({
  past: z.array(
    z.object({
      account: z.string(),
      endpoint: z.string(),
      client: z.union([
        z.object({ host: z.string(), port: z.number() }),
        z.object({ path: z.string() }),
      ]),
      uid: nullableNumber,
      acceptedAt: z.number(),
      agoMs: z.number(),
      from: z.nullable(z.enum(["pool", "dial"])),
      steps: z.object({
        connected: nullableNumber,
        ready: nullableNumber,
        upgraded: nullableNumber,
        firstUp: nullableNumber,
        firstDown: nullableNumber,
        ended: nullableNumber,
      }),
      bytesUp: z.number(),
      bytesDown: z.number(),
      ending: z.string(),
      detail: z.string(),
    }),
  ),
  rows: z.array(
    z.tuple([z.string(), z.number(), z.number(), z.number(), z.number(), z.number(), z.number()]),
  ),
  completeSeconds: nullableNumber,
});

const accountSchema = z.object({
  name: z.string(),
  /** ngrok's last list, as in its file; empty if there is none. */
  list: z.string(),
  state: z.object({
    phase: z.enum(["starting", "serving", "degraded", "stopping"]),
    reason: z.string(),
    hint: z.string(),
    lastPass: z.optional(
      z.object({
        agoMs: z.number(),
        ok: z.boolean(),
        tookMs: z.number(),
        reason: z.string(),
        hint: z.string(),
      }),
    ),
  }),
});

/** The first line of the old daemon, in a reply of the control socket. */
export const estateSchema = z.object({
  protocol: z.literal(protocolVersion),
  version: z.string(),
  pid: z.number(),
  /** How many doors listen. */
  doors: z.number(),
  /** In the order of the descriptors. */
  keys: z.array(z.string()),
  accounts: z.array(accountSchema),
  meters: metersSchema,
  departed: meterSchema,
  strangers: meterSchema,
  /** An older program has none. */
  history: z.optional(legacySchema),
});
export type EstateFacts = z.infer<typeof estateSchema> & { readonly keys: readonly Key[] };
export type AccountFacts = z.infer<typeof accountSchema>;
export type Meters = z.infer<typeof metersSchema>;

/** The lines of the successor. */
export const fromSuccessorSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready"), version: z.string() }),
  z.object({ kind: z.literal("failed"), reason: z.string() }),
]);
export type FromSuccessor = z.infer<typeof fromSuccessorSchema>;

/** The later lines of the old daemon: its connections that still run. */
export const fromPredecessorSchema = z.object({
  kind: z.literal("traffic"),
  open: z.number(),
  /** What has to be added to the meters. */
  meters: metersSchema,
  history: z.optional(legacySchema),
});
export type FromPredecessor = z.infer<typeof fromPredecessorSchema>;

/** Throws `refused` for a successor or a predecessor of another protocol. */
export function requireSameProtocol(theirs: number, who: string): void {
  if (theirs === protocolVersion) return;
  throw new NgrokdError(
    "refused",
    `${who} hands over by protocol ${theirs}, and this program by ${protocolVersion}`,
    { hint: "`sudo systemctl restart ngrokd` changes the program without a handover" },
  );
}
