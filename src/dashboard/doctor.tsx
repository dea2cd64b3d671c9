import { useState } from "preact/hooks";
import type { Findings } from "../desk/finding-schemas.ts";
import { ask } from "./daemon.ts";
import { Panel, Sentence } from "./panels.tsx";

type Examination =
  | { readonly kind: "none" }
  | { readonly kind: "running" }
  | { readonly kind: "failed"; readonly reason: string }
  | ({ readonly kind: "done" } & Findings);

/** The doctor, or with an endpoint the way to it, at a button. */
export function Doctor({ endpoint }: { readonly endpoint: string | undefined }) {
  const [examination, setExamination] = useState<Examination>({ kind: "none" });
  const examine = (query: string): void => {
    setExamination({ kind: "running" });
    ask<Findings>(`doctor${query}`).then(
      ({ findings }) => setExamination({ kind: "done", findings }),
      (error: Error) => setExamination({ kind: "failed", reason: error.message }),
    );
  };
  const isBusy = examination.kind === "running";
  const tools = (
    <span class="tools">
      {endpoint !== undefined && (
        <button
          type="button"
          disabled={isBusy}
          onClick={() => examine(`?host=${encodeURIComponent(endpoint)}`)}
        >
          Why {endpoint}?
        </button>
      )}
      <button type="button" disabled={isBusy} onClick={() => examine("")}>
        Examine everything
      </button>
    </span>
  );
  return (
    <Panel id="doctor" title="Doctor" tools={tools}>
      <div aria-live="polite" aria-busy={isBusy}>
        {isBusy && <p class="empty">Examining; this takes some seconds.</p>}
        {examination.kind === "failed" && <p class="empty">{examination.reason}</p>}
        {examination.kind === "done" && (
          <ul class="findings">
            {examination.findings.map(({ title, level, text, fix, subject }) => (
              <li key={`${subject} ${title} ${text}`} class={level}>
                <b>{title}</b>
                <span>
                  <span class="level">{level}</span> <Sentence text={text} />
                  {fix !== "" && (
                    <span class="hint">
                      → <Sentence text={fix} />
                    </span>
                  )}
                </span>
              </li>
            ))}
          </ul>
        )}
      </div>
    </Panel>
  );
}
