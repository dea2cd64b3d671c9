import { type Outlook, outlookHappenings } from "../desk/happenings.ts";
import type { Health } from "../desk/health-life.ts";
import type { Web } from "../web/web.ts";
import type { Parts } from "./parts.ts";
import { currentState } from "./telling.ts";

/**
 * Notes events of the whole daemon in the history: phases, warnings and failed
 * renewals. Returns a function that notes the changes since its last call.
 */
export function createChronicle(
  parts: Parts & { readonly health: Health; readonly web: Web },
): () => void {
  let last: Outlook = { phase: "starting", reason: "", hint: "", warnings: [] };
  const failures = new Map<string, string>();
  return () => {
    const { phase, reason, hint, warnings } = currentState(parts);
    const now = { phase, reason, hint, warnings };
    for (const happening of outlookHappenings(last, now)) parts.history.tell(happening);
    last = now;
    tellRenewals(parts, failures);
  };
}

/** A renewal that fails, once for each reason. */
function tellRenewals({ accounts, history }: Parts, failures: Map<string, string>): void {
  for (const { name, account, board } of accounts.all) {
    const reason = account.identity.renewalTrouble?.reason ?? "";
    const { registration } = board.state;
    if (reason !== "" && reason !== failures.get(name) && registration.kind === "registered") {
      const { notAfter, fingerprint256: fingerprint } = registration.certificate;
      history.tell({ kind: "certificate", account: name, notAfter, fingerprint, reason });
    }
    failures.set(name, reason);
  }
}
