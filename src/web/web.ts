/**
 * web/ serves the operations of the desk over HTTP: to every client of the
 * control socket, and on a loopback port to browsers that have opened a
 * one-time link. Nothing is served there without a session.
 */
import type { Rights } from "../control/rights.ts";
import { isAllowed } from "../desk/dispatch.ts";
import type { Link } from "../desk/history-schemas.ts";
import { type OperationName, operations } from "../desk/operations.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import type { Conn, Net } from "../net/types.ts";
import { type Asked, createHttpParser, startHttpServer } from "../observe/http-server.ts";
import { cookieIn, formRefusal, hostsOf, openPath, originRefusal, type Refusal } from "./gate.ts";
import { type ApiDeps, createHttpApi, refused } from "./http-api.ts";
import { type Page, pageResponse, pages } from "./pages.ts";
import { codeSeconds, createSessions, type Session } from "./sessions.ts";

/** The loopback port during the daemon's life. */
export interface Web {
  /** Why it does not listen although it should; empty otherwise. */
  readonly trouble: string;
  /** Starts it if there is an address. Never rejects. */
  start(): Promise<void>;
  /** Tries to listen again if {@link start} failed. Never rejects. */
  retry(): Promise<void>;
  /** The address in the settings has changed. Never rejects. */
  move(): Promise<void>;
  /** A link for a browser. Throws NgrokdError `refused` without a port. */
  link(how: { readonly write: boolean }): Link;
  /** It is not started again after that. */
  close(): Promise<void>;
}

export interface WebOptions {
  readonly net: Net;
  /** A loopback address; undefined if nothing is served. Port 0: any. */
  readonly address: () => HostPort | undefined;
  readonly api: ApiDeps;
  readonly log: Log;
  /** The pages by their paths. */
  readonly pages?: ReadonlyMap<string, Page>;
}

const maxBodyBytes = 64 * 1024;
const quietMs = 30_000;
const limits = { most: 64, quietMs, maxBodyBytes };

export function createWeb(options: WebOptions): Web {
  const { net, log } = options;
  const sessions = createSessions();
  let server: { readonly address: HostPort; close(): void } | undefined;
  let starting: Promise<void> | undefined;
  let stage: "waiting" | "running" | "closed" = "waiting";
  let trouble = "";
  const answer = answerOf(options, sessions, () => server?.address);
  const settle = async (): Promise<void> => {
    const address = options.address();
    if (stage !== "running" || server !== undefined || address === undefined) return;
    starting ??= open(address).finally(() => {
      starting = undefined;
    });
    await starting;
  };
  const closeServer = async (): Promise<void> => {
    await starting;
    const closing = server;
    server = undefined;
    closing?.close();
  };

  return {
    get trouble() {
      return trouble;
    },
    async start() {
      if (stage === "waiting") stage = "running";
      await settle();
    },
    retry: settle,
    async move() {
      await closeServer();
      trouble = "";
      await settle();
    },
    link({ write }) {
      if (server === undefined) throw notServed(trouble);
      const code = sessions.invite(write);
      const url = `http://${hostPortText(server.address)}${openPath}?code=${code}`;
      return { url, expires_seconds: codeSeconds, write };
    },
    async close() {
      stage = "closed";
      await closeServer();
    },
  };

  async function open(address: HostPort): Promise<void> {
    try {
      server = await startHttpServer({ net, address, answer, ...limits });
      log.info(
        `The dashboard listens on ${hostPortText(server.address)}; see \`ngrokd dashboard\``,
      );
      trouble = "";
    } catch (error) {
      const before = trouble;
      const inUse = isNgrokdError(error, "address-in-use");
      const reason = inUse ? "another program listens there" : reasonOf(error);
      trouble = `The dashboard cannot listen on "${hostPortText(address)}": ${reason}`;
      if (trouble !== before)
        log.warn(trouble, { hint: "set another address as `server.dashboard_address`" });
    }
  }
}

function notServed(trouble: string): NgrokdError {
  if (trouble !== "") return new NgrokdError("refused", trouble);
  return new NgrokdError("refused", "The daemon serves no dashboard: it has no address", {
    hint: "set `server.dashboard_address`, such as 127.0.0.1:8082, in the configuration",
  });
}

type Answer = (request: Request, asked: Asked) => Promise<Response>;

/** Everything but the link itself needs a session. */
function answerOf(
  { net, api, pages: served = pages }: WebOptions,
  sessions: ReturnType<typeof createSessions>,
  address: () => HostPort | undefined,
): Answer {
  const app = once(() => createHttpApi(api));
  const uidOf = async (conn: Conn | undefined): Promise<number | undefined> =>
    conn === undefined ? undefined : (await net.callerOf(conn)).uid;
  const sessionOf = async (asked: Asked, name: string): Promise<Session | undefined> => {
    const session = sessions.of(cookieIn(asked, name) ?? "");
    if (session?.uid === undefined) return session;
    // Other users of this machine may have seen the cookie.
    return (await uidOf(asked.conn)) === session.uid ? session : undefined;
  };
  return async (request, asked) => {
    const own = address();
    if (own === undefined) return guarded(refused(503, "the dashboard is closing"));
    const refusal = formRefusal(asked) ?? originRefusal(asked, hostsOf(own));
    if (refusal !== undefined) return guarded(refusedFor(refusal));
    const cookie = `ngrokd_${own.port}`;
    const [path = "", query = ""] = asked.target.split("?");
    if (path === openPath) {
      const code = asked.method === "GET" ? (new URLSearchParams(query).get("code") ?? "") : "";
      const token = sessions.open(code, await uidOf(asked.conn));
      return guarded(token === undefined ? refused(403, staleText) : opened(cookie, token));
    }
    const session = await sessionOf(asked, cookie);
    if (session === undefined) return guarded(refused(401, lockedText));
    const page = asked.method === "POST" ? undefined : served.get(path);
    if (page !== undefined) return guarded(pageResponse(page), page.policy);
    const mayRun = (name: OperationName): boolean => isServedTo(session, name);
    const isWelcome = (): boolean => sessions.of(cookieIn(asked, cookie) ?? "") !== undefined;
    return guarded(await app().fetch(request, { mayRun, isWelcome }));
  };
}

/** A page makes no links for further pages. */
const isServedTo = ({ mayWrite }: Session, name: OperationName): boolean =>
  name !== "dashboard" &&
  (operations[name].kind === "read" || (mayWrite && operations[name].kind === "change"));

const lockedText = "open the link that `ngrokd dashboard` prints";
const staleText = "this link was used, or is too old; `ngrokd dashboard` prints another one";

const refusedFor = ({ status, reason }: Refusal): Response => refused(status, reason);

/**
 * The browser goes on by itself: a redirect would belong to the page that had
 * the link, and so have no cookie.
 */
function opened(cookie: string, token: string): Response {
  const page =
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>ngrokd</title>' +
    '<meta http-equiv="refresh" content="0;url=/"><p><a href="/">To the dashboard</a></p></html>';
  return new Response(page, {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "set-cookie": `${cookie}=${token}; Path=/; HttpOnly; SameSite=Strict`,
    },
  });
}

/** What every reply says to a browser. */
function guarded(response: Response, policy = "default-src 'none'"): Response {
  const headers = {
    "cache-control": "no-store",
    "content-security-policy": `${policy}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
  };
  for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
  return response;
}

/** HTTP for clients of the control socket, which has let them in. */
export interface SocketWeb {
  accept(conn: Conn, rights: Rights, onMove: () => void): void;
}

export function createSocketWeb(api: ApiDeps): SocketWeb {
  const app = once(() => createHttpApi(api));
  const parserFor = (rights: Rights) =>
    createHttpParser({
      answer(request, asked) {
        const refusal = formRefusal(asked);
        if (refusal !== undefined) return refusedFor(refusal);
        return app().fetch(request, {
          mayRun: (name: OperationName) => isAllowed(name, rights),
          isWelcome: () => true,
        });
      },
      maxBodyBytes,
      quietMs,
    });
  const parsers = { all: once(() => parserFor("all")), read: once(() => parserFor("read")) };
  return { accept: (conn, rights, onMove) => parsers[rights]().accept(conn, onMove) };
}

/** Most daemons never need it. */
function once<T extends object>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
