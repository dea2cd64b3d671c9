import type { Loaded } from "../config/loaded.ts";
import type { Way } from "../machine/resolver/way.ts";
import type { ApiKey } from "../model/api-key.ts";
import type { UnitFile } from "../service/manage.ts";

/** Whether this machine can do something; otherwise the reason, and advice. */
export type Ability =
  | { readonly can: true }
  | { readonly can: false; readonly why: string; readonly hint: string | undefined };

/**
 * For whom ngrokd is set up: for all users, with a daemon, or for one user
 * without root.
 */
export type Scope = "machine" | "user";

/** All that the questions and the plan depend on. */
export interface Facts {
  readonly scope: Scope;
  /** The configuration, without the variables that have a key. */
  readonly loaded: Loaded;
  /** The text of its file; undefined without a file. */
  readonly text: string | undefined;
  /** The file has faults, and is set aside. */
  readonly isBroken: boolean;
  /** A daemon answers on the control socket. */
  readonly isRunning: boolean;
  readonly unit: UnitFile["kind"];
  /** The service runs, and starts with the machine. */
  readonly service: { readonly isUp: boolean; readonly isAtBoot: boolean };
  /** The user behind sudo; undefined without one. */
  readonly sudoUser: string | undefined;
  /** The group of the control socket; undefined if there is none yet. */
  readonly members: readonly string[] | undefined;
  /** How the resolver would be told about names below a wildcard. */
  readonly way: Way["kind"];
  readonly abilities: {
    readonly interface: Ability;
    readonly service: Ability;
    readonly group: Ability;
  };
}

/** How endpoints are shown. What is missing stays as it is. */
export interface Modes {
  readonly addresses?: "loopback" | "interface" | undefined;
  /** Names below a wildcard, by DNS. */
  readonly wildcards?: boolean | undefined;
  /** The other machines that may connect, as ranges of addresses. */
  readonly share?: "nobody" | "everybody" | readonly string[] | undefined;
}

/** What the command line has decided. */
export interface Wishes extends Modes {
  readonly service?: boolean | undefined;
  /** A user who becomes a member of the socket's group. */
  readonly member?: string | undefined;
  /** Replaces the service of the Go program. */
  readonly takeOver?: boolean | undefined;
}

/** The same with nothing left open but the modes. */
export interface Answers extends Wishes {
  readonly service: boolean;
  readonly takeOver: boolean;
}

/** What happens to the API key. */
export type KeyAnswer =
  | { readonly kind: "keep" }
  | { readonly kind: "save"; readonly key: ApiKey; readonly isChecked: boolean }
  /** For a dry run, which asks for no secret. */
  | { readonly kind: "ask" };

/** Pure: whether a user is a member of the socket's group. */
export const isMember = ({ members = [] }: Pick<Facts, "members">, user: string): boolean =>
  members.includes(user);

/** Pure: whether the service runs, also after a boot, so setup leaves it. */
export const isServiceSetUp = ({ unit, service }: Facts): boolean =>
  (unit === "ours" || unit === "packaged") && service.isUp && service.isAtBoot;
