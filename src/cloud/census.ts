import { z } from "zod";
import { inspectCertificate } from "./certificate.ts";
import { jsonOf } from "./refusal.ts";
import type { Operator } from "./wire.ts";

/** An operator that this program has made, and what it is to this machine. */
export interface OurOperator {
  readonly id: string;
  /**
   * The host that registered it, as it called itself; empty where it did not.
   */
  readonly hostname: string;
  readonly version: string;
  /** RFC 3339; empty where ngrok did not say. */
  readonly createdAt: string;
  /**
   * When its certificate ends; undefined where ngrok's answer has none that can
   * be read.
   */
  readonly notAfter: Date | undefined;
  /**
   * `this machine`: the identity here. `expired`: its certificate has ended,
   * and a daemon that lives has renewed its own long before; should one have
   * slept for so long, it registers anew when it wakes. `same name`: it names
   * this host, and is not the identity here. That may be what a reinstallation
   * left, or another machine of the same name that lives: nothing in it tells
   * them apart, so whoever deletes it has to mean it. `other`: another
   * machine's.
   */
  readonly kind: "this machine" | "expired" | "same name" | "other";
}

/**
 * Pure: those of an account's operators that this program has made, the newest
 * first; the others are nobody's business here.
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
