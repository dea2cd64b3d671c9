/**
 * access/ decides who may connect to an endpoint: which users of this machine,
 * and which other machines. The first rule for the endpoint decides.
 */
import { matchesGlob } from "../model/glob.ts";
import { rangeHas } from "../model/ip.ts";

/** A rule as it is configured; see `access.rules`. */
export interface WrittenRule {
  /** `host` or `host:port`; `*` in the host stands for any characters. */
  readonly endpoint: string;
  /** Names or numbers. */
  readonly users?: readonly string[] | undefined;
  readonly groups?: readonly string[] | undefined;
  /** Ranges of addresses. */
  readonly from?: readonly string[] | undefined;
}

/** A rule whose users and groups have been looked up. */
export interface Rule {
  /** Its place in the list, from 1. */
  readonly number: number;
  /** `*` stands for any characters. */
  readonly host: string;
  /** Undefined: every port. */
  readonly port: number | undefined;
  /** The users of this machine who may connect; undefined: every user. */
  readonly uids: ReadonlySet<number> | undefined;
  /** The addresses of other machines that may connect, as ranges. */
  readonly from: readonly string[];
}

/** The endpoint that a client wants. */
export interface Wanted {
  readonly host: string;
  readonly port: number;
}

/**
 * Who may connect without a rule: the users of this machine, or everybody, as
 * at a door that is for other machines.
 */
export type Default = "users" | "everybody";

export type Client =
  /** `uid`: undefined if the system does not tell. */
  | { readonly kind: "user"; readonly uid: number | undefined }
  | { readonly kind: "machine"; readonly address: string };

/** Why a client may not connect. Without a rule, the default decides. */
export interface Refusal {
  readonly client: Client;
  readonly rule: Rule | undefined;
}

/** Pure: the first rule for an endpoint; undefined if there is none. */
export const ruleFor = (rules: readonly Rule[], wanted: Wanted): Rule | undefined =>
  rules.find(
    ({ host, port }) => (port ?? wanted.port) === wanted.port && matchesGlob(host, wanted.host),
  );

/**
 * Pure: why a client may not connect by the rule for an endpoint; undefined if
 * it may.
 */
export function refusalOf(
  rule: Rule | undefined,
  client: Client,
  without: Default,
): Refusal | undefined {
  if (rule === undefined && without === "everybody") return undefined;
  const allowed =
    client.kind === "user"
      ? rule?.uids === undefined || (client.uid !== undefined && rule.uids.has(client.uid))
      : (rule?.from.some((range) => rangeHas(range, plain(client.address))) ?? false);
  return allowed ? undefined : { client, rule };
}

/** Without the zone of a link-local address. */
const plain = (address: string): string => address.replace(/%.*$/, "");
