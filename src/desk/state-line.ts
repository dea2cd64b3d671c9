import type { State } from "../model/state.ts";

/** Pure: the state of the daemon in one line, for `systemctl status`. */
export function stateLine({ phase, reason, registration, endpoints }: State): string {
  if (phase === "starting") return "Starting";
  if (phase === "stopping") return "Stopping; open connections may finish";
  const serving = endpoints.filter(({ state }) => state === "listening").length;
  const failing = endpoints.filter(({ state }) => state === "failed").length;
  const noun = serving === 1 ? "endpoint" : "endpoints";
  const count = `${serving} ${noun}${failing === 0 ? "" : `, ${failing} failing`}`;
  if (phase === "serving") return `Serving ${count}`;
  // Without a registration there are no endpoints to count.
  return registration.kind === "registered" || endpoints.length > 0
    ? `Degraded: ${reason}; serving ${count}`
    : `Degraded: ${reason}`;
}
