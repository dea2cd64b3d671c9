import { z } from "zod";
import { inspectCertificate } from "./certificate.ts";
import { jsonOf } from "./refusal.ts";
import type { Operator } from "./wire.ts";

/**
 * An operator that this program or a similar one has made, as seen from this
 * machine.
 */
export interface OurOperator {
  readonly id: string;
  /** `another program`: of unknown make, but in use on this machine. */
  readonly madeBy: "ngrokd" | "the Go program" | "the Go SDK" | "another program";
  /** The hostname that it was registered with; "" if there is none. */
  readonly hostname: string;
  readonly version: string;
  /** RFC 3339; "" if ngrok's answer has no time. */
  readonly createdAt: string;
  /** The end of its certificate; undefined if ngrok sent no readable one. */
  readonly notAfter: Date | undefined;
  /**
   * - `this machine`: the identity here.
   * - `expired`: its certificate has ended. A running daemon renews long
   *   before. If it slept too long, it registers again when it wakes.
   * - `same name`: it names this host, but is not the identity here. A previous
   *   installation may have left it, or another machine may have this name. Its
   *   data does not tell the two apart, so it is deleted only on explicit
   *   request.
   * - `other`: an operator of another machine.
   */
  readonly kind: "this machine" | "expired" | "same name" | "other";
}

/**
 * Pure: this machine's operator, and the operators of an account that were made
 * by this program, by the Go program named ngrokd, or by its SDK. The newest
 * comes first. All others are left out.
 */
export function census(
  operators: readonly Operator[],
  here: { hostname: string; operatorId: string | undefined },
  now: Date,
): OurOperator[] {
  const ours = operators.flatMap((operator) => {
    const facts = metadataShape.parse(jsonOf(operator.metadata));
    const isHere = operator.id === here.operatorId;
    const madeBy = makerOf(facts, operator.description) ?? (isHere ? "another program" : undefined);
    if (madeBy === undefined) return [];
    const certificate =
      operator.certPem === undefined ? undefined : inspectCertificate(operator.certPem);
    const notAfter = certificate?.ok === true ? certificate.value.notAfter : undefined;
    const { id, createdAt } = operator;
    const { hostname, version } = facts;
    return [
      {
        id,
        madeBy,
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

/**
 * The Go program and its SDK write no host name. Other programs may use their
 * type too, so their descriptions must match as well.
 */
function makerOf(facts: Facts, description: string): OurOperator["madeBy"] | undefined {
  if (facts["owned-by"] === "ngrokd") return "ngrokd";
  const goDescriptions = ["ngrokd daemon", "ngrok forward proxy agent"];
  if (facts.type === "forward-proxy" && goDescriptions.includes(description))
    return "the Go program";
  return facts.type === "sdk" && description === "ngrokd-sdk" ? "the Go SDK" : undefined;
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
const none = { "owned-by": "", type: "", hostname: "", version: "" };
const metadataShape = z
  .object({ "owned-by": word, type: word, hostname: word, version: word })
  .catch(none);
type Facts = z.output<typeof metadataShape>;
