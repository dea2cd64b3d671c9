import { z } from "zod";
import { inspectCertificate } from "./certificate.ts";
import { jsonOf } from "./refusal.ts";
import type { Operator } from "./wire.ts";

/** An operator that this program has made, as seen from this machine. */
export interface OurOperator {
  readonly id: string;
  /** The hostname that it was registered with; "" if there is none. */
  readonly hostname: string;
  readonly version: string;
  /** RFC 3339; "" if ngrok's answer has no time. */
  readonly createdAt: string;
  /**
   * The end of its certificate; undefined if ngrok's answer has no readable
   * one.
   */
  readonly notAfter: Date | undefined;
  /**
   * `this machine`: the identity here. `expired`: its certificate has ended. A
   * running daemon renews long before; one that slept too long registers again
   * when it wakes. `same name`: it names this host, but is not the identity
   * here. A reinstallation may have left it, or another machine of this name is
   * alive. Nothing in it tells the two apart, so it is deleted only on explicit
   * request. `other`: another machine's.
   */
  readonly kind: "this machine" | "expired" | "same name" | "other";
}

/**
 * Pure: the operators of an account that this program has made, the newest
 * first. All others are left out.
 */
export function census(
  operators: readonly Operator[],
  here: { hostname: string; operatorId: string | undefined },
  now: Date,
): OurOperator[] {
  const ours = operators.flatMap((operator) => {
    const facts = metadataShape.safeParse(jsonOf(operator.metadata)).data;
    if (facts?.["owned-by"] !== "ngrokd") return [];
    const certificate =
      operator.certPem === undefined ? undefined : inspectCertificate(operator.certPem);
    const notAfter = certificate?.ok === true ? certificate.value.notAfter : undefined;
    const { id, createdAt } = operator;
    const { hostname, version } = facts;
    return [
      {
        id,
        hostname,
        version,
        createdAt,
        notAfter,
        kind: kindOf({ id, hostname, notAfter }, here, now),
      },
    ];
  });
  return ours.sort((a, b) => b.createdAt.localeCompare(a.createdAt));
}

function kindOf(
  { id, hostname, notAfter }: Pick<OurOperator, "id" | "hostname" | "notAfter">,
  here: { hostname: string; operatorId: string | undefined },
  now: Date,
): OurOperator["kind"] {
  if (id === here.operatorId) return "this machine";
  if (notAfter !== undefined && notAfter <= now) return "expired";
  return hostname !== "" && hostname === here.hostname ? "same name" : "other";
}

const word = z.string().catch("");
const metadataShape = z.object({ "owned-by": word, hostname: word, version: word });
