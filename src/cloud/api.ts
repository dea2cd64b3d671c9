// ngrok's API, and the identity that it gives this machine.

import type { ApiKey } from "../model/api-key.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { quote } from "../model/parsed.ts";
import { type Caller, createCaller } from "./caller.ts";
import type { Fetch } from "./exchange.ts";
import { type ListMemory, readList } from "./list.ts";
import {
  endpointIdOf,
  endpointOf,
  type Operator,
  type OperatorPatch,
  type OperatorRequest,
  operatorOf,
} from "./wire.ts";

export type { ListMemory } from "./list.ts";

/**
 * ngrok's REST API, as far as it is used (docs/protocol.md, "ngrok's API").
 * Nothing is retried. Every call rejects with NgrokdError:
 *
 * - `network`, or `timeout` (30 s a request, body included)
 * - `cancelled`, or the signal's own reason
 * - `unauthorized`, `not-found` or `rate-limited`
 * - `api`: any other refusal, or a reply that cannot be understood
 * - `protocol`: a redirect, wrong paging, or a reply over a limit
 * - `state`: not an operator id
 *
 * The details of refusals are those of `refusal`. No error contains the key.
 */
export interface Api {
  /**
   * Reads one operator, and ignores the reply. Resolves if ngrok accepts the
   * key.
   */
  checkKey(signal?: AbortSignal): Promise<void>;
  createOperator(request: OperatorRequest, signal?: AbortSignal): Promise<Operator>;
  getOperator(id: string, signal?: AbortSignal): Promise<Operator>;
  /** With `binding.csr`, the reply has a newly signed certificate. */
  updateOperator(id: string, patch: OperatorPatch, signal?: AbortSignal): Promise<Operator>;
  deleteOperator(id: string, signal?: AbortSignal): Promise<void>;
  /** All operators of the account. Items without a usable id are left out. */
  operators(signal?: AbortSignal): Promise<Operator[]>;
  /**
   * The endpoints bound to this operator. The list can lag behind deletions.
   * Items that cannot be understood become endpoints without id and URL.
   */
  boundEndpoints(operatorId: string, signal?: AbortSignal): Promise<readonly ApiEndpoint[]>;
  /**
   * The ids of all endpoints of the account, bound or not; empty for an item
   * that cannot be understood.
   */
  endpointIds(signal?: AbortSignal): Promise<readonly string[]>;
}

export interface ApiOptions {
  /** `https://api.ngrok.com`, or a stand-in's. A path in it is kept. */
  readonly url: string;
  readonly key: ApiKey;
  /** `ngrokd/<version> (<os>; <arch>)` */
  readonly userAgent: string;
  readonly fetch?: Fetch;
  /** Deadline of one request with its body; default 30,000 ms. */
  readonly timeoutMs?: number;
  /** Default: 8 MiB for a page of a list, and 1 MiB for other replies. */
  readonly maxBytes?: number;
  /** Deadline for all pages of a list; default 5 min. */
  readonly listTimeoutMs?: number;
  /** Empty at first. It lives longer than the api. */
  readonly memory?: ListMemory;
}

/** Throws NgrokdError `config` if `url` is not an http(s) URL. */
export function createApi(options: ApiOptions): Api {
  const caller = createCaller(options);
  const memory: ListMemory = options.memory ?? new Map();
  return { ...operatorCalls(caller), ...listCalls(caller, memory) };
}

function operatorCalls({
  at,
  atOperator,
  send,
  json,
  operator,
}: Caller): Omit<Api, keyof ListCalls> {
  return {
    async checkKey(signal) {
      await json({
        action: "Cannot check the API key",
        method: "GET",
        url: at("/kubernetes_operators?limit=1"),
        signal,
      });
    },
    createOperator: (body, signal) =>
      operator({
        action: "Cannot register this machine",
        method: "POST",
        url: at("/kubernetes_operators"),
        body,
        signal,
      }),
    getOperator: async (id, signal) =>
      operator({
        action: `Cannot look up the operator ${quote(id)}`,
        method: "GET",
        url: atOperator(id),
        signal,
      }),
    updateOperator: async (id, body, signal) =>
      operator({
        action: `Cannot update the operator ${quote(id)}`,
        method: "PATCH",
        url: atOperator(id),
        body,
        signal,
      }),
    async deleteOperator(id, signal) {
      await send({
        action: `Cannot delete the operator ${quote(id)}`,
        method: "DELETE",
        url: atOperator(id),
        signal,
      });
    },
  };
}

type ListCalls = Pick<Api, "operators" | "boundEndpoints" | "endpointIds">;

function listCalls(caller: Caller, memory: ListMemory): ListCalls {
  const { at, atOperator } = caller;
  return {
    async operators(signal) {
      const operators = await readList(caller, memory, {
        action: "Cannot list the account's operators",
        url: at("/kubernetes_operators"),
        field: "operators",
        itemOf: operatorOf,
        signal,
      });
      return operators.filter((item) => item !== undefined);
    },
    boundEndpoints: async (id, signal) =>
      readList(caller, memory, {
        action: `Cannot list the endpoints bound to ${quote(id)}`,
        url: atOperator(id, "/bound_endpoints"),
        field: "endpoints",
        itemOf: endpointOf,
        signal,
      }),
    endpointIds: (signal) =>
      readList(caller, memory, {
        action: "Cannot list the account's endpoints",
        url: at("/endpoints"),
        field: "endpoints",
        itemOf: endpointIdOf,
        signal,
      }),
  };
}
