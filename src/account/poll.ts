import type { Api } from "../cloud/api.ts";
import type { LastList } from "../cloud/last-list.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import type { Identity } from "../cloud/registration.ts";
import { bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult, Reconciled } from "../model/pass.ts";
import { createLister, type Lister } from "./lister.ts";
import type { PassEnd } from "./loop.ts";
import { isSuspiciouslyShort } from "./short-list.ts";

/** One pass; `signal` aborts it. Never rejects. */
export type Pass = (signal: AbortSignal) => Promise<PassResult>;

/** The dependencies of one pass. A test can replace any of them. */
export interface PassDeps {
  /** ngrok's API with the key in effect; undefined while there is none. */
  readonly api: () => Api | undefined;
  /**
   * The saved identity, or one newly registered with `api`; undefined without
   * both.
   */
  readonly identity: (api: Api | undefined, signal: AbortSignal) => Promise<Identity | undefined>;
  /** Replaces an identity whose operator is unknown to ngrok. */
  readonly replace: (gone: Identity, api: Api, signal: AbortSignal) => Promise<Identity>;
  readonly reconcile: (listed: readonly ApiEndpoint[]) => Promise<Reconciled>;
  /** The list that was saved before this start. */
  readonly lastList: LastList | undefined;
  readonly saveList: (list: LastList) => Promise<void>;
  /** The keys of the bindings that are served now. */
  readonly serving: () => readonly string[];
  readonly log: Log;
}

/**
 * One pass (design.md). It gets the identity and the list, and makes this
 * machine match the list. Never rejects. If ngrok cannot be asked, its last
 * list counts, also the one that an earlier process saved. Running endpoints
 * stay, and failed ones are tried again.
 */
export function createPass(deps: PassDeps): Pass {
  const list = createLister(deps.log);
  let memory: PassMemory = {
    lastList: deps.lastList,
    served: undefined,
    saved: undefined,
    unknownOperator: undefined,
    sawShortList: false,
  };

  return async (signal) => {
    try {
      const identity = await deps.identity(deps.api(), signal);
      // Call again: the key may have changed during the wait for the identity.
      const api = deps.api();
      if (api === undefined || identity === undefined) return { kind: "idle" };
      const reply = await ask(list, api, identity, signal);
      const verdict = remember(judge(memory, reply, deps.serving));
      if (verdict.kind !== "replace") return await follow(verdict, signal);
      const { operatorId } = await deps.replace(identity, api, signal);
      const endpoints = await list(api, operatorId, signal);
      const replaced = remember(judgeList(memory, { operatorId, endpoints }, deps.serving));
      return await follow(replaced, signal);
    } catch (error) {
      return { kind: "failed", error };
    }
  };

  function remember<V extends Verdict>([next, verdict]: readonly [PassMemory, V]): V {
    memory = next;
    return verdict;
  }

  async function follow(
    verdict: Exclude<Verdict, { kind: "replace" }>,
    signal: AbortSignal,
  ): Promise<PassResult> {
    switch (verdict.kind) {
      case "listed":
        signal.throwIfAborted();
        return { kind: "ok", reconciled: await serve(verdict.list) };
      case "short":
        signal.throwIfAborted();
        deps.log.info(
          `ngrok lists few of the ${verdict.servedCount} endpoints that are served; polling again before any is removed`,
        );
        return { kind: "confirm", reconciled: undefined };
      case "unknown":
        deps.log.info(
          `ngrok does not know the operator ${verdict.operatorId}; polling again before this machine is registered again`,
        );
        return { kind: "gone", error: verdict.error };
      case "unreachable": {
        const { error, endpoints } = verdict;
        if (endpoints === undefined || signal.aborted) return { kind: "failed", error };
        const reconciled = await deps.reconcile(endpoints);
        return { kind: "failed", error, reconciled, resumed: memory.served === undefined };
      }
    }
  }

  /** Makes this machine match a list, then saves it for the next start. */
  async function serve(list: LastList): Promise<Reconciled> {
    const reconciled = await deps.reconcile(list.endpoints);
    memory = { ...memory, served: list.endpoints };
    if (isSameList(memory.saved, list)) return reconciled;
    try {
      await deps.saveList(list);
      memory = { ...memory, saved: list };
      return reconciled;
    } catch (error) {
      // Reported as a problem of this pass; the next pass tries again.
      const problem = { reason: reasonOf(error), hint: hintOf(error) };
      return { ...reconciled, problems: [...reconciled.problems, problem] };
    }
  }
}

/** ngrok's reply to the request for our operator's endpoints. */
export type Reply =
  | ({ readonly kind: "listed" } & LastList)
  | { readonly kind: "unknown" | "failed"; readonly operatorId: string; readonly error: unknown };

/** The state that one pass leaves for the next. */
export interface PassMemory {
  /** The list that was saved before this start. */
  readonly lastList: LastList | undefined;
  /** The last list of this process that was reconciled. */
  readonly served: readonly ApiEndpoint[] | undefined;
  /** The list that is on disk, as far as this process has written it. */
  readonly saved: LastList | undefined;
  /** The operator that was unknown to ngrok at the last reply. */
  readonly unknownOperator: string | undefined;
  /** The last list was so short that a second one must confirm it. */
  readonly sawShortList: boolean;
}

type ListVerdict =
  | { readonly kind: "listed"; readonly list: LastList }
  /** A short list; a second one must confirm it. */
  | { readonly kind: "short"; readonly servedCount: number };

export type Verdict =
  | ListVerdict
  /**
   * An unknown operator; a second reply must confirm it before the replacement.
   */
  | { readonly kind: "unknown"; readonly operatorId: string; readonly error: unknown }
  | { readonly kind: "replace"; readonly error: unknown }
  /** ngrok cannot be asked; with the endpoints that count meanwhile. */
  | {
      readonly kind: "unreachable";
      readonly error: unknown;
      readonly endpoints: readonly ApiEndpoint[] | undefined;
    };

/**
 * Pure: the meaning of a reply. Two replies in a row are needed to remove most
 * of the bindings in `serving` (keys), or to replace the operator. A failure
 * between them is not a reply. A list that has not changed is not compared with
 * `serving`.
 */
export function judge(
  memory: PassMemory,
  reply: Reply,
  serving: () => readonly string[],
): readonly [PassMemory, Verdict] {
  if (reply.kind === "listed") return judgeList(memory, reply, serving);
  const { operatorId, error } = reply;
  if (reply.kind === "failed") {
    const endpoints = endpointsBefore(memory, operatorId);
    return [memory, { kind: "unreachable", error, endpoints }];
  }
  if (memory.unknownOperator === operatorId) return [memory, { kind: "replace", error }];
  return [
    { ...memory, unknownOperator: operatorId },
    { kind: "unknown", operatorId, error },
  ];
}

function judgeList(
  before: PassMemory,
  { operatorId, endpoints }: LastList,
  serving: () => readonly string[],
): readonly [PassMemory, ListVerdict] {
  const memory = { ...before, unknownOperator: undefined };
  const isNew = endpoints !== before.served && !before.sawShortList;
  const served = isNew ? serving() : [];
  if (served.length > 0 && isShort(endpoints, served))
    return [
      { ...memory, sawShortList: true },
      { kind: "short", servedCount: served.length },
    ];
  return [
    { ...memory, sawShortList: false },
    { kind: "listed", list: { operatorId, endpoints } },
  ];
}

function endpointsBefore(
  { served, lastList, unknownOperator }: PassMemory,
  operatorId: string,
): readonly ApiEndpoint[] | undefined {
  if (served !== undefined) return served;
  const counts = unknownOperator === undefined && lastList?.operatorId === operatorId;
  return counts ? lastList.endpoints : undefined;
}

function isShort(endpoints: readonly ApiEndpoint[], serving: readonly string[]): boolean {
  const { bindings, wildcards } = bindingsOf(endpoints);
  // A wildcard that is not served here counts for nothing.
  const served = new Set(serving);
  const counting = [...bindings, ...wildcards.filter(({ key }) => served.has(key))];
  return isSuspiciouslyShort(serving, new Set(counting.map(({ key }) => key)));
}

const isSameList = (a: LastList | undefined, b: LastList): boolean =>
  a?.endpoints === b.endpoints && a.operatorId === b.operatorId;

async function ask(
  list: Lister,
  api: Api,
  { operatorId }: Identity,
  signal: AbortSignal,
): Promise<Reply> {
  try {
    return { kind: "listed", operatorId, endpoints: await list(api, operatorId, signal) };
  } catch (error) {
    return { kind: isUnknownToNgrok(error) ? "unknown" : "failed", operatorId, error };
  }
}

export function passEnd(result: PassResult): PassEnd {
  if (result.kind === "failed") return result;
  return { kind: result.kind === "gone" ? "confirm" : result.kind };
}
