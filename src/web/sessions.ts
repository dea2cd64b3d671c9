import { createHash, randomBytes } from "node:crypto";

/** What a session may do. */
export interface Session {
  readonly mayWrite: boolean;
  /** The user who opened the link, if the system tells. */
  readonly uid: number | undefined;
}

/**
 * The sessions of browsers, in memory alone. A code opens one session, once.
 * Only digests are kept, and comparing them tells nothing about a secret.
 */
export interface Sessions {
  /** Returns a code for a new session. */
  invite(mayWrite: boolean): string;
  /** Returns the token of the new session; undefined if the code is wrong. */
  open(code: string, uid: number | undefined): string | undefined;
  /** The session of a token; undefined if there is none, or no longer. */
  of(token: string): Session | undefined;
}

export const codeSeconds = 120;
const sessionMs = 12 * 3_600_000;
const mostCodes = 16;
const mostSessions = 32;

export function createSessions(now: () => number = () => performance.now()): Sessions {
  const codes = new Map<string, { readonly mayWrite: boolean; readonly until: number }>();
  const sessions = new Map<string, Session & { readonly until: number }>();
  return {
    invite(mayWrite) {
      const code = secret();
      keep(codes, digest(code), { mayWrite, until: now() + codeSeconds * 1000 }, mostCodes);
      return code;
    },
    open(code, uid) {
      const found = codes.get(digest(code));
      codes.delete(digest(code));
      if (found === undefined || found.until < now()) return undefined;
      const token = secret();
      const { mayWrite } = found;
      keep(sessions, digest(token), { mayWrite, uid, until: now() + sessionMs }, mostSessions);
      return token;
    },
    of(token) {
      const found = sessions.get(digest(token));
      if (found === undefined || found.until >= now()) return found;
      sessions.delete(digest(token));
      return undefined;
    },
  };
}

/** Adds an entry. If the map is full, the oldest entry makes room. */
function keep<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  const [oldest] = map.keys();
  if (map.size >= most && oldest !== undefined) map.delete(oldest);
  map.set(key, value);
}

const secret = (): string => randomBytes(32).toString("base64url");
const digest = (text: string): string => createHash("sha256").update(text).digest("hex");
