import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Status } from "../../src/desk/reply-schemas.ts";
import {
  type ApiFacts,
  judgeApi,
  judgeClock,
  judgeKey,
  judgeOperator,
  skewOf,
} from "../../src/doctor/api-findings.ts";
import { type Attempt, attempt, paced } from "../../src/doctor/attempt.ts";
import { broken, type Finding, failure, ok, warning, worst } from "../../src/doctor/finding.ts";
import {
  type EndpointTrial,
  type IngressFacts,
  judgeEndpointTrial,
  judgeIngress,
  judgeOurCertificate,
} from "../../src/doctor/ingress-findings.ts";
import {
  judgeDaemon,
  judgeEnvironment,
  judgeFiles,
  judgeListener,
  judgePrivileges,
  judgeProxy,
  judgeSocket,
  judgeWriters,
  summed,
} from "../../src/doctor/judge.ts";
import {
  judgeCertificate,
  judgeLeftovers,
  judgeState,
  type StateFacts,
} from "../../src/doctor/state-files.ts";
import { parseApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { item, status } from "../cli/support.ts";

const done = <T>(value: T, tookMs = 5): Attempt<T> => ({ ok: true, value, tookMs });
const failed = (error: unknown): Attempt<never> => ({ ok: false, error, tookMs: 5 });
const said = ({ level, text, fix }: Finding): string =>
  `${level}: ${text}${fix === "" ? "" : ` → ${fix}`}`;
const now = new Date("2026-01-02T04:00:00.000Z");

describe("worst", () => {
  test("is the worst level that there is", () => {
    expect(worst([])).toBe("ok");
    expect(worst([ok("api", "")])).toBe("ok");
    expect(worst([ok("api", ""), warning("api", "")])).toBe("warning");
    expect(worst([failure("api", ""), warning("api", "")])).toBe("failure");
  });
});

describe("broken", () => {
  test("takes missing rights of ours for no fault of the thing", () => {
    expect(said(broken("state", new NgrokdError("permission", "Cannot read x")))).toBe(
      "warning: not checked: Cannot read x → run this command with sudo",
    );
    expect(
      said(broken("state", new NgrokdError("state", "Cannot read x", { hint: "mend it" }))),
    ).toBe("failure: Cannot read x → mend it");
    expect(said(broken("state", new Error("odd")))).toBe("failure: odd");
  });
});

describe("judgeEnvironment", () => {
  test("has nothing to say of usual variables", () => {
    expect(judgeEnvironment({ PATH: "/bin", HTTPS_PROXY: "http://x" }, "daemon")).toEqual([]);
  });
  test("warns of left-out variables, and of those that run code; the API's CAs are ok", () => {
    const env = { NGROKD_LEFT_OUT: "BUN_OPTIONS", LD_PRELOAD: "/x", NODE_EXTRA_CA_CERTS: "/ca" };
    const advice = (name: string) => judgeEnvironment({ NGROKD_LEFT_OUT: name }, "daemon")[0]?.fix;
    expect(advice("BUN_OPTIONS")).toEndWith("before ngrokd begins, and BUN_OPTIONS runs code then");
    expect(advice("SSL_CERT_DIR")).toEndWith("before ngrokd begins");
    expect(judgeEnvironment(env, "command").map(({ level, text }) => [level, text])).toEqual([
      ["warning", "the command was started with BUN_OPTIONS, without effect"],
      ["warning", "LD_PRELOAD of this command's environment counts: it changes which code runs"],
      [
        "ok",
        "NODE_EXTRA_CA_CERTS of this command's environment counts: its CAs are trusted for the API",
      ],
    ]);
  });
});

describe("judgePrivileges", () => {
  test("only warns if a file could not be read", () => {
    expect(judgePrivileges(undefined, true)).toEqual([]);
    expect(judgePrivileges(0, false).map(({ level }) => level)).toEqual(["ok"]);
    expect(judgePrivileges(1000, false).map(({ level }) => level)).toEqual(["ok"]);
    expect(judgePrivileges(1000, true).map(({ level }) => level)).toEqual(["warning"]);
  });
});

describe("judgeDaemon", () => {
  const judged = (more: Partial<Status>): string[] =>
    judgeDaemon(done({ status: status(more) })).map(said);

  test("knows the states", () => {
    expect(judged({})).toEqual(["ok: ngrokd 1.2.3 (pid 42) is serving"]);
    expect(judged({ phase: "degraded", reason: "no route", hint: "find one" })).toEqual([
      "failure: ngrokd 1.2.3 (pid 42) is degraded: no route → find one",
    ]);
    expect(judged({ phase: "starting", warnings: ["mind this"] })).toEqual([
      "warning: ngrokd 1.2.3 (pid 42) is starting → wait a moment, and look again",
      "warning: mind this",
    ]);
  });

  test("distinguishes a missing daemon from one that we may not ask", () => {
    expect(
      judgeDaemon(failed(new NgrokdError("not-running", "No daemon", { hint: "start it" }))).map(
        said,
      ),
    ).toEqual(["failure: No daemon → start it"]);
    expect(judgeDaemon(failed(new NgrokdError("permission", "No")))[0]?.level).toBe("warning");
  });
});

describe("judgeSocket", () => {
  test("minds the rights of others, and nothing else", () => {
    const levels = (mode: number | undefined): string[] =>
      judgeSocket("/s", mode, "group").map(({ level }) => level);
    const judged = {
      none: levels(undefined),
      "0600": levels(0o600),
      "0660": levels(0o660),
      "0666": levels(0o666),
      "0662": levels(0o662),
    };
    expect(judged).toEqual({
      none: [],
      "0600": ["ok"],
      "0660": ["ok"],
      "0666": ["failure"],
      "0662": ["failure"],
    });
    const readers = (mode: number, who: "group" | "all" | undefined): string[] =>
      judgeSocket("/s", mode, who).map(said);
    expect(readers(0o666, "all")).toEqual([
      'ok: "/s" has the mode 0666: every user may ask, by `server.socket_read: all`',
    ]);
    expect(readers(0o660, "all")).toEqual(['ok: "/s" has the mode 0660']);
    expect(readers(0o667, undefined)).toEqual([
      'warning: "/s" has the mode 0667: every user may use it → that is right if `server.socket_read` is all',
    ]);
  });
});

describe("judgeFiles", () => {
  const judged = (
    fileLimit: number | null,
    active: number,
    limit: number | null,
    listening = 1,
  ): string | undefined => {
    const { connections, endpoints } = status();
    const facts = status({
      connections: { ...connections, active, limit },
      endpoints: { ...endpoints, listening },
      files: { limit: fileLimit },
    });
    return judgeFiles({ uid: 0, openFiles: undefined, env: undefined }, facts)[0]?.level;
  };
  test.each([
    [null, 0, null, undefined],
    [65_536, 0, 1000, "ok"],
    [65_536, 801, 1000, "warning"],
    [65_536, 1000, 1000, "failure"],
    [1024, 0, 400, "warning"],
  ] as const)("limit %p, %p of %p connections: %p", (fileLimit, active, limit, level) => {
    expect(judged(fileLimit, active, limit)).toBe(level);
  });
  test("the limit comes from the daemon itself, for every user", () => {
    const told = (openFiles: number | undefined): string[] =>
      judgeFiles({ uid: undefined, openFiles, env: undefined }, status()).map(said);
    expect(told(undefined)).toEqual(["ok: at most 524288 files may be open"]);
    expect(told(41)).toEqual(["ok: 41 of at most 524288 files are open"]);
  });
  test("a limit that so many listeners nearly use up is too small", () => {
    expect(judged(10_000, 0, 100, 5001)).toBe("warning");
  });
});

describe("judgeWriters", () => {
  test("a hosts file of another user's may be meant, all else may not", () => {
    const one = { path: "/f", at: "/f", why: "every user may", fix: "chmod go-w /f" };
    expect(judgeWriters([]).map(({ level }) => level)).toEqual(["ok"]);
    expect(
      judgeWriters([
        { ...one, kind: "CA" },
        { ...one, kind: "hosts file" },
      ]).map(said),
    ).toEqual([
      'failure: Other users can change the CA "/f": every user may → run `sudo chmod go-w /f`',
      'warning: Other users can change the hosts file "/f": every user may → run `sudo chmod go-w /f`',
    ]);
  });
});

describe("judgeProxy", () => {
  test("names the proxies, and warns if the daemon uses others", () => {
    expect(said(judgeProxy({ api: "", ingress: "" }, undefined))).toBe(
      "ok: API and ingress are reached directly",
    );
    expect(said(judgeProxy({ api: "http://p:1", ingress: "" }, undefined))).toBe(
      "ok: the API is reached through http://p:1, the ingress directly",
    );
    const there = status({ proxy: { api: "http://p:1", ingress: "http://p:1" } });
    expect(judgeProxy({ api: "http://p:1", ingress: "http://p:1" }, there).level).toBe("ok");
    expect(said(judgeProxy({ api: "", ingress: "" }, there))).toContain(
      "for the daemon, API and ingress are reached through http://p:1",
    );
  });
});

describe("judgeListener", () => {
  test("names the name itself if it is below a wildcard", () => {
    const below = item("a", { url: "http://*.team.internal", hostname: "a.team.internal" });
    expect(judgeListener("listeners", below, [], new Map()).text).toStartWith(
      "http://a.team.internal: the daemon says",
    );
    expect(judgeListener("listeners", below, undefined, new Map()).text).toStartWith(
      "http://a.team.internal listens on",
    );
  });

  const at = (host: string, port: number) => ({ host, port, inode: "7" });
  const none = new Map<string, string>();
  test("trusts the kernel's list more than the daemon, if there is one", () => {
    expect(judgeListener("listeners", item("a"), [at("127.0.0.2", 80)], none).level).toBe("ok");
    expect(judgeListener("listeners", item("a"), [at("*", 80)], none).level).toBe("ok");
    expect(judgeListener("listeners", item("a"), undefined, none).level).toBe("ok");
    expect(
      said(judgeListener("listeners", item("a"), [at("127.0.0.3", 80), at("127.0.0.2", 81)], none)),
    ).toContain(
      "failure: http://a.demo: the daemon says that it listens on 127.0.0.2:80, but no program does",
    );
  });
  test("names the port for other machines, or why there is none", () => {
    const judged = (more: Parameters<typeof item>[1]): string =>
      said(judgeListener("listeners", item("a", more), undefined, none));
    const network = { listen_interface: "lan0", network_port: 9080 };
    expect(judged(network)).toBe(
      'ok: http://a.demo listens on 127.0.0.2:80, and for other machines on port 9080 of "lan0"',
    );
    const warning = "other machines cannot reach it";
    expect(judged({ ...network, network_port: 0, warning })).toContain(
      "warning: http://a.demo listens on 127.0.0.2:80, but other machines cannot reach it",
    );
  });
  test("names the program that is in the way", () => {
    const taken = item("a", { state: "failed", reason: "taken" });
    expect(
      said(judgeListener("listeners", taken, [at("*", 80)], new Map([["7", "nginx (pid 9)"]]))),
    ).toBe(
      "failure: http://a.demo: taken; it is nginx (pid 9) → stop that program, or let it listen on other addresses than 127.0.0.2:80",
    );
    expect(said(judgeListener("listeners", taken, [], none))).toContain(
      "failure: http://a.demo: taken → every poll tries again",
    );
  });
  test("takes unusable and ending endpoints for no failure", () => {
    expect(
      judgeListener("listeners", item("a", { state: "unsupported", ip: "" }), [], none).level,
    ).toBe("warning");
    expect(judgeListener("listeners", item("a", { state: "draining" }), [], none).level).toBe("ok");
  });
});

describe("summed", () => {
  const levels = fc.array(fc.constantFrom("ok", "warning", "failure"), { maxLength: 40 });
  const made = (list: readonly string[]): Finding[] =>
    list.map((level, i) => ({ check: "names", level: level as "ok", text: `${i}`, fix: "" }));
  test("is never longer than allowed, and never better than its parts", () => {
    fc.assert(
      fc.property(levels, fc.integer({ min: 0, max: 5 }), (list, shown) => {
        const all = made(list);
        const few = summed("names", all, (n) => `${n} are well`, shown);
        expect(few.length).toBeLessThanOrEqual(shown + 2);
        expect(worst(few)).toBe(worst(all));
      }),
    );
  });
  test("shows failures first", () => {
    const few = summed(
      "names",
      made(["warning", "ok", "failure", "ok"]),
      (n) => `${n} are well`,
      1,
    );
    expect(few.map(said)).toEqual([
      "ok: 2 are well",
      "failure: 2",
      "warning: and 1 more → add --all to see each",
    ]);
  });
});

describe("judgeState", () => {
  const file = (mode: number, uid = 0) => ({ path: "/etc/ngrokd/x", mode, uid });
  const identity = {
    kind: "identity",
    identity: { operatorId: "k8sop_1", certPem: "", keyPem: "", ingressEndpoint: undefined },
  } as const;
  const good: StateFacts = {
    folder: file(0o700),
    key: file(0o600),
    identity,
    certificate: undefined,
    assignment: undefined,
    assignmentPath: "/etc/ngrokd/ip_mappings.json",
  };
  const levels = (more: Partial<StateFacts>, owners: number[] | undefined = [0]): string[] =>
    judgeState({ ...good, ...more }, owners).map(({ level }) => level);

  test("accepts the daemon's own files", () => {
    expect(levels({})).toEqual(["ok"]);
    expect(levels({ folder: file(0o755) })).toEqual(["ok"]);
    expect(levels({ key: file(0o600, 1000) }, [1000, 0])).toEqual(["ok"]);
  });
  test("minds a key open to others, and a strange owner, if there are owners", () => {
    expect(levels({ key: file(0o640) })).toEqual(["failure"]);
    expect(levels({ key: file(0o600, 1000) })).toEqual(["failure"]);
    expect(levels({ key: file(0o604, 7) })).toEqual(["failure", "failure"]);
    expect(
      judgeState({ ...good, key: file(0o666, 7) }, undefined).map(({ level }) => level),
    ).toEqual(["ok"]);
  });
  test("distinguishes missing files from unusable ones", () => {
    expect(levels({ identity: { kind: "none" }, key: undefined })).toEqual(["warning"]);
    expect(levels({ identity: { kind: "unusable", reason: "it does not fit" } })).toEqual([
      "failure",
    ]);
  });
  test("minds a file of addresses that cannot be understood, wholly or in part", () => {
    expect(levels({ assignment: { ok: false, reason: "it is not JSON" } })).toEqual(["failure"]);
    const odd = { assignment: new Map(), asked: new Set<never>(), skipped: ["odd"] };
    expect(levels({ assignment: { ok: true, value: odd } })).toEqual(["warning"]);
  });
});

describe("judgeCertificate", () => {
  const lasting = (fromDays: number, toDays: number, trouble = ""): string[] => {
    const at = (days: number): Date => new Date(now.getTime() + days * 86_400_000);
    const facts = {
      subject: "",
      issuer: "",
      notBefore: at(fromDays),
      notAfter: at(toDays),
      fingerprint256: "",
      publicKey: new Uint8Array(),
    };
    return judgeCertificate({ ok: true, value: facts }, now, trouble).map(said);
  };
  test("knows each part of its life", () => {
    expect(lasting(-1, 89)).toEqual(["ok: valid for 89 days, until 2026-04-01 04:00 UTC"]);
    expect(lasting(-1, 1)).toEqual(["ok: valid for 1 day, until 2026-01-03 04:00 UTC"]);
    expect(lasting(-1 / 86_400, 59 / 86_400)[0]).toStartWith("ok: valid for 59 s, until");
    expect(lasting(-61, 29)[0]).toStartWith("warning: valid for 29 days");
    expect(lasting(-90, -1)[0]).toStartWith("failure: it expired on 2026-01-01 04:00 UTC");
    expect(lasting(1, 90)[0]).toStartWith("failure: it is not valid before 2026-01-03 04:00 UTC");
  });
  test("gives the reason of a failed renewal", () => {
    expect(lasting(-61, 29, "no route")[0]).toEndWith("→ the daemon could not renew it: no route");
  });
  test("leaves one that is not there, or cannot be read, to the state files", () => {
    expect(judgeCertificate(undefined, now, "")).toEqual([]);
    expect(judgeCertificate({ ok: false, reason: "no" }, now, "")).toEqual([]);
  });
});

describe("judgeLeftovers", () => {
  const none = { temporary: [], interrupted: false, unread: [] };
  test("names the leftovers", () => {
    expect(judgeLeftovers(none, 0, "/etc/hosts").map(({ level }) => level)).toEqual(["ok"]);
    expect(judgeLeftovers({ ...none, unread: ["/x"] }, 0, "/etc/hosts").map(said)[0]).toContain(
      'not checked in "/x"',
    );
    const all = judgeLeftovers(
      { temporary: ["/a", "/b", "/c", "/d"], interrupted: true, unread: [] },
      1,
      "/etc/hosts",
    ).map(said);
    expect(all).toHaveLength(3);
    expect(all[0]).toContain('"/etc/hosts" has a name that leads nowhere');
    expect(all[2]).toContain("/a /b /c …");
    expect(judgeLeftovers(none, 0, "/etc/hosts", ["/etc/resolv.conf"]).map(said)).toEqual([
      "warning: a daemon that did not stop properly has left its settings in /etc/resolv.conf → " +
        "start the daemon, which cleans up first, or remove them with `sudo ngrokd undo`",
    ]);
  });
});

describe("ngrok's API", () => {
  const refused = new NgrokdError("unauthorized", "no");
  const facts = (more: Partial<ApiFacts>): ApiFacts => ({
    url: "https://api.test",
    answer: { tookMs: 11.2, skewMs: 300 },
    trial: done(undefined),
    operator: undefined,
    bound: undefined,
    ...more,
  });
  const key = parseApiKey("a-key-of-a-test");
  const noKey = parseApiKey("");

  test("responds, even if it refuses the key", () => {
    expect(said(judgeApi(facts({})))).toBe('ok: "https://api.test" answered within 12 ms');
    expect(judgeApi(facts({ trial: failed(refused) })).level).toBe("ok");
    expect(
      said(
        judgeApi(
          facts({ answer: undefined, trial: failed(new NgrokdError("network", "no route")) }),
        ),
      ),
    ).toStartWith("failure: no route → ");
    expect(judgeApi(facts({ trial: failed(new NgrokdError("api", "answered 500")) })).level).toBe(
      "failure",
    );
  });

  test("a key is judged by ngrok, else by itself, and may be the daemon's own", () => {
    expect(judgeKey(key, true, false, facts({})).level).toBe("ok");
    expect(judgeKey(key, true, false, facts({ trial: failed(refused) })).level).toBe("failure");
    expect(
      judgeKey(key, true, false, facts({ trial: failed(new NgrokdError("timeout", "late")) }))
        .level,
    ).toBe("warning");
    expect(judgeKey(noKey, false, false, facts({})).level).toBe("failure");
    expect(judgeKey(noKey, false, true, facts({})).level).toBe("warning");
    expect(judgeKey(parseApiKey("short"), true, true, facts({})).level).toBe("failure");
  });

  test("an operator is gone only if ngrok itself says so", () => {
    const gone = (fromNgrok: boolean): Attempt<never> =>
      failed(new NgrokdError("not-found", "404", { details: { fromNgrok } }));
    expect(said(judgeOperator("k8sop_1", facts({ operator: gone(true) })))).toStartWith(
      "failure: ngrok does not know k8sop_1",
    );
    expect(said(judgeOperator("k8sop_1", facts({ operator: gone(false) })))).toBe("failure: 404");
    expect(
      judgeOperator("k8sop_1", facts({ operator: gone(false), trial: gone(false) })).level,
    ).toBe("warning");
    expect(judgeOperator("k8sop_1", facts({})).level).toBe("warning");
    expect(judgeOperator(undefined, facts({})).level).toBe("warning");
  });

  test("the clock: seconds are fine, half a minute is odd, five are wrong, either way", () => {
    const judged = (skewMs: number | undefined): string =>
      said(judgeClock(facts({ answer: { tookMs: 1, skewMs } })));
    expect(judged(900)).toBe("ok: right");
    expect(judged(-12_000)).toBe("ok: right to 12 s");
    expect(judged(31_000)).toStartWith("warning: this machine's clock is 31 s behind ngrok's");
    expect(judged(-299_000)).toStartWith(
      "warning: this machine's clock is 5 minutes ahead of ngrok's",
    );
    expect(judged(3 * 3_600_000)).toStartWith(
      "failure: this machine's clock is 3 hours behind ngrok's",
    );
    expect(judged(undefined)).toStartWith("warning: not checked");
    expect(judgeClock(facts({ answer: undefined })).level).toBe("warning");
  });

  test("a Date header is compared with the middle of the request", () => {
    const at = Date.parse("Fri, 02 Jan 2026 04:00:00 GMT");
    expect(skewOf("Fri, 02 Jan 2026 04:00:00 GMT", at, at + 1000)).toBe(0);
    expect(skewOf("Fri, 02 Jan 2026 04:10:00 GMT", at, at + 1000)).toBe(600_000);
    expect(skewOf(null, at, at)).toBeUndefined();
    expect(skewOf("soon", at, at)).toBeUndefined();
  });
});

describe("the ingress", () => {
  const target = { host: "a.demo", port: 80 };
  const trial = (answer: EndpointTrial["answer"]): EndpointTrial => ({ target, answer });
  const facts = (more: Partial<IngressFacts>): IngressFacts => ({
    address: "ingress.test:443",
    verified: true,
    dial: done({ subject: "CN=x", issuer: "CN=ngrok", fingerprint256: "AB" }, 12.3),
    first: trial(done({ kind: "accepted", notices: [] })),
    trials: [],
    ...more,
  });

  test("names the certificate's issuer, and warns if it was not verified", () => {
    expect(said(judgeIngress(facts({})))).toBe(
      'ok: "ingress.test:443" answered within 13 ms, certificate issued by "CN=ngrok"',
    );
    expect(said(judgeIngress(facts({ verified: false })))).toContain(
      "which is NOT verified → remove",
    );
    expect(judgeIngress(facts({ dial: failed(new NgrokdError("network", "no")) })).level).toBe(
      "failure",
    );
  });

  test("takes any answer to a request for proof that our certificate is let in", () => {
    expect(judgeOurCertificate(facts({})).level).toBe("ok");
    expect(
      judgeOurCertificate(
        facts({
          first: trial(done({ kind: "refused", code: "ERR_NGROK_3200", message: "", notices: [] })),
        }),
      ).level,
    ).toBe("ok");
    expect(
      judgeOurCertificate(facts({ first: trial(failed(new NgrokdError("tls", "closed"))) })).level,
    ).toBe("failure");
    expect(
      judgeOurCertificate(facts({ first: trial(failed(new NgrokdError("timeout", "late"))) }))
        .level,
    ).toBe("warning");
    expect(judgeOurCertificate(facts({ first: undefined })).level).toBe("warning");
    const other = trial(done({ kind: "accepted", notices: [] }));
    expect(
      judgeOurCertificate(
        facts({ first: trial(failed(new NgrokdError("aborted", "reset"))), trials: [other] }),
      ).level,
    ).toBe("ok");
  });

  test("explains a refusal", () => {
    const refusal = trial(
      done({ kind: "refused", code: "ERR_NGROK_8012", message: "it is down", notices: [] }),
    );
    expect(said(judgeEndpointTrial("upgrade", refusal))).toBe(
      'failure: a.demo:80: ngrok refuses it with "it is down" (ERR_NGROK_8012) → ngrok\'s agent cannot reach the service behind the endpoint: is the service running?',
    );
    expect(
      said(
        judgeEndpointTrial(
          "upgrade",
          trial(done({ kind: "refused", code: "", message: "", notices: [] })),
        ),
      ),
    ).toBe("failure: a.demo:80: ngrok refuses it without a reason");
    const notices = ["your plan ends soon"];
    const noted = trial(done({ kind: "refused", code: "ERR_NGROK_1", message: "no", notices }));
    expect(said(judgeEndpointTrial("upgrade", noted))).toBe(
      'failure: a.demo:80: ngrok refuses it with "no" (ERR_NGROK_1); ngrok says: your plan ends soon',
    );
    expect(
      said(judgeEndpointTrial("upgrade", trial(done({ kind: "accepted", notices }, 4.2)))),
    ).toBe("ok: a.demo:80 was opened through ngrok within 5 ms; ngrok says: your plan ends soon");
    expect(
      said(judgeEndpointTrial("upgrade", trial(done({ kind: "accepted", notices: [] }, 4.2)))),
    ).toBe("ok: a.demo:80 was opened through ngrok within 5 ms");
  });
});

describe("attempt", () => {
  test("turns an exception into a value, and gives up in time", async () => {
    expect(await attempt("x", 1000, async () => 7)).toMatchObject({ ok: true, value: 7 });
    expect(await attempt("x", 1000, () => Promise.reject(new Error("no")))).toMatchObject({
      ok: false,
      error: new Error("no"),
    });
    let heard: unknown;
    const hanging = (signal: AbortSignal) =>
      new Promise<never>(() => {
        signal.addEventListener("abort", () => {
          heard = signal.reason;
        });
      });
    const late = await attempt("Cannot wait", 20, hanging);
    expect(late).toMatchObject({
      ok: false,
      error: { code: "timeout", message: "Cannot wait: no answer within 0.02 s" },
    });
    expect(heard).toBeInstanceOf(NgrokdError);
  });
});

describe("paced", () => {
  test("keeps the order, and never has more at once than it may", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer()),
        fc.integer({ min: 1, max: 5 }),
        async (items, atOnce) => {
          let busy = 0;
          const results = await paced(
            items,
            { atOnce, budgetMs: Number.POSITIVE_INFINITY },
            async (one) => {
              busy += 1;
              expect(busy).toBeLessThanOrEqual(atOnce);
              await Promise.resolve();
              busy -= 1;
              return one * 2;
            },
          );
          expect(results).toEqual(items.map((one) => one * 2));
        },
      ),
      { numRuns: 50 },
    );
  });
  test("begins the first whatever the time allows, and no other once it is over", async () => {
    expect(await paced([1, 2, 3], { atOnce: 1, budgetMs: 0 }, async (one) => one)).toEqual([1]);
  });
});
