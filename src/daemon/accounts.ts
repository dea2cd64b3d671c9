import { type Account, createAccount, type PassHooks } from "../account/account.ts";
import type { Fetch } from "../cloud/exchange.ts";
import type { LastList } from "../cloud/last-list.ts";
import type { Loaded } from "../config/load.ts";
import { ofProfile, profilesOf } from "../config/profiles.ts";
import { changeLines } from "../desk/tell.ts";
import { ensureWritableFolder } from "../files/atomic.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { type Moment, moment } from "../model/moment.ts";
import type { Reconciled } from "../model/pass.ts";
import { defaultProfile } from "../model/profile.ts";
import type { EndpointState, State } from "../model/state.ts";
import type { Relay } from "../relay/relay.ts";
import { type Board, createBoard, firstState } from "./board.ts";
import { writeLines } from "./log-lines.ts";
import type { Serving } from "./serving.ts";

/** A profile that the daemon serves: its account, and its part of the state. */
export interface Member {
  readonly name: string;
  /** The settings in effect, as this profile has them. */
  readonly loaded: () => Loaded;
  readonly account: Account;
  readonly board: Board;
  readonly log: Log;
}

export type Members = readonly [Member, ...Member[]];

/** The accounts of the configured profiles, side by side. */
export interface Accounts {
  /** In the order that settles conflicts; never empty. */
  readonly all: Members;
  /** Their names, as the relay and the serving know them. */
  readonly names: readonly string[];
  /** Starts all accounts. Called once; never rejects. */
  start(hooks: (member: Member) => PassHooks): Promise<void>;
  /**
   * Makes the accounts match the profiles of the settings. Others are not
   * touched, nor are their connections. Never rejects.
   */
  settle(): Promise<void>;
  /** Asks every account for a pass. */
  kick(): void;
  /** Prevents further passes. Settles when the running ones have ended. */
  stop(): Promise<void>;
}

export interface AccountsDeps {
  readonly loaded: () => Loaded;
  readonly fetch: () => Fetch;
  readonly relay: Pick<Relay, "present" | "accounts">;
  readonly serve: Serving["serve"];
  readonly log: Log;
  readonly keepSecret: (secret: string) => void;
  /** The list of the daemon before this one. */
  readonly inherited?: (name: string) => LastList | undefined;
  readonly startedAt?: Moment;
  /** Called with every change of a published state. */
  readonly published: (account: string, state: State, before: State) => void;
  /** Called when a member's identity has changed. */
  readonly changed: (member: Member) => void;
}

export function createAccounts(deps: AccountsDeps): Accounts {
  const { loaded, relay, serve, log, startedAt = moment() } = deps;
  let hooks: ((member: Member) => PassHooks) | undefined;
  const isRight = (member: Member): boolean => filesOf(loaded(), member.name) === files.get(member);
  const files = new WeakMap<Member, string>();
  const made = (name: string): Member => {
    const member = createMember(name, startedAt, deps, (reconciled) =>
      tellOthers(member, reconciled),
    );
    files.set(member, filesOf(loaded(), name));
    return member;
  };
  let all = profilesOf(loaded()).map(made) as unknown as Members;
  relay.accounts(all.map(({ name }) => name));

  return {
    get all() {
      return all;
    },
    get names() {
      return all.map(({ name }) => name);
    },
    async start(hooksOf) {
      hooks = hooksOf;
      for (const member of all) await begin(member, hooksOf);
    },
    async settle() {
      const wanted = profilesOf(loaded());
      const leaving = all.filter((one) => !wanted.includes(one.name) || !isRight(one));
      const staying = all.filter((one) => !leaving.includes(one));
      const next = wanted.map((name) => staying.find((one) => one.name === name) ?? made(name));
      await Promise.all(leaving.map(({ account }) => account.stop()));
      relay.accounts([...all.map(({ name }) => name), ...wanted]);
      all = next as unknown as Members;
      for (const { name } of leaving) tellAll(await gone(name));
      relay.accounts(wanted);
      for (const one of leaving) log.info(`The profile ${one.name} is no longer served`);
      if (hooks === undefined) return;
      for (const member of next) if (!staying.includes(member)) await begin(member, hooks);
    },
    kick() {
      for (const { account } of all) account.kick();
    },
    stop: async () => void (await Promise.all(all.map(({ account }) => account.stop()))),
  };

  /** A failure is told with the next pass of another account. */
  async function gone(name: string): Promise<Reconciled | undefined> {
    return await serve(name, undefined).catch((error: unknown) => {
      log.warn(`Cannot take back the names of the profile ${name}: ${reasonOf(error)}`);
      return undefined;
    });
  }

  function tellAll(reconciled: Reconciled | undefined): void {
    if (reconciled !== undefined) tellOthers(undefined, reconciled);
  }

  /** One account's pass can change the endpoints of another. */
  function tellOthers(self: Member | undefined, reconciled: Reconciled): void {
    for (const other of all) {
      if (other === self) continue;
      const endpoints = endpointsOf(other.name, reconciled);
      const { state } = other.board;
      if (state.endpoints === endpoints) continue;
      writeLines(other.log, changeLines(state.endpoints, endpoints));
      other.board.publish({ endpoints });
    }
  }
}

async function begin(member: Member, hooks: (member: Member) => PassHooks): Promise<void> {
  const { log, account } = member;
  const folder = stateFolderOf(member.loaded().config.server);
  await ensureWritableFolder(folder, 0o700).catch((error: unknown) =>
    log.warn(`Cannot use the state folder: ${reasonOf(error)}`),
  );
  await account.start(hooks(member));
}

function createMember(
  name: string,
  startedAt: Moment,
  deps: AccountsDeps,
  shared: (reconciled: Reconciled) => void,
): Member {
  const { relay, serve, keepSecret } = deps;
  const isDefault = name === defaultProfile;
  const loaded = (): Loaded => ofProfile(deps.loaded(), name);
  const log = isDefault ? deps.log : logOf(deps.log, name);
  const { config } = loaded();
  const first = firstState(config, startedAt, isDefault ? undefined : name);
  const board = createBoard(first, (state, before) => deps.published(name, state, before));
  const account = createAccount({
    name,
    stateFolder: stateFolderOf(config.server),
    loaded,
    fetch: deps.fetch,
    log,
    keepSecret,
    inherited: deps.inherited?.(name),
    serving: () => servedBindings(relay, name),
    async serve(listed) {
      const reconciled = await serve(name, listed);
      shared(reconciled);
      return { endpoints: endpointsOf(name, reconciled), problems: reconciled.problems };
    },
    published: (registration) => board.publish({ registration }),
    changed: () => deps.changed(member),
  });
  const member: Member = { name, loaded, account, board, log };
  return member;
}

/** Pure: the log of a profile beside the default one. */
function logOf(log: Log, name: string): Log {
  const marked =
    (level: keyof Log): Log["info"] =>
    (text, fields) =>
      log[level](`${name}: ${text}`, fields);
  return {
    debug: marked("debug"),
    info: marked("info"),
    warn: marked("warn"),
    error: marked("error"),
  };
}

/**
 * An account of other files is another one, since its files are its identity
 * and its state.
 */
function filesOf(loaded: Loaded, name: string): string {
  const { client_cert, client_key } = ofProfile(loaded, name).config.server;
  return `${client_cert}\n${client_key}`;
}

/**
 * The endpoints of one account. The same result returns the same list, so an
 * unchanged pass stays cheap.
 */
function endpointsOf(name: string, reconciled: Reconciled): readonly EndpointState[] {
  const { endpoints } = reconciled;
  if (endpoints.every(({ account }) => account === name)) return endpoints;
  const lists = byAccount.get(endpoints) ?? Map.groupBy(endpoints, ({ account }) => account);
  byAccount.set(endpoints, lists);
  const list = lists.get(name) ?? [];
  lists.set(name, list);
  return list;
}

const byAccount = new WeakMap<readonly EndpointState[], Map<string, EndpointState[]>>();

/** The names of one wildcard count as one, as ngrok lists them. */
function servedBindings({ present }: Pick<Relay, "present">, name: string): string[] {
  const bindings = [...present.values()].flatMap(({ routes }) =>
    routes.filter(({ target }) => target.account === name).map(({ target }) => target.binding),
  );
  return [...new Set(bindings.map(({ key, wildcard = key }) => wildcard))];
}
