/**
 * The pool and session resumption over real TLS: their savings, and their
 * limits.
 */
import { describe, expect, test } from "bun:test";
import { createIngress, type Ingress } from "../../src/ingress/ingress.ts";
import type { IngressSettings } from "../../src/ingress/ingress-dialer.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Conn, Net, TlsSessions } from "../../src/net/types.ts";
import { net, scripted } from "../support/conns.ts";
import { accepted, fakeIngress } from "../support/fake-ingress.ts";
import { issue, rootCa } from "../support/pki.ts";

const target = { host: "hello.demo", port: 80 };
const pool = { min: 1, max: 4, idleTimeoutMs: 60_000 };
const patience = (): AbortSignal => AbortSignal.timeout(15_000);

async function use(ingress: Ingress): Promise<Conn> {
  const opened = await ingress.open(target, patience());
  if (opened.kind !== "accepted") throw new Error(opened.message);
  return opened.conn;
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`never: ${what}`);
    await Bun.sleep(2);
  }
}

describe("ready connections", () => {
  test("carry a request without a dial", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    const ingress = createIngress(
      net,
      () => server.settings,
      () => pool,
    );
    ingress.prepare();
    await until("one is ready", () => ingress.stats.ready === 1);
    (await use(ingress)).abort();
    expect(ingress.stats).toMatchObject({ hits: 1, misses: 0, retries: 0 });
    ingress.close();
  });

  test("that have died cost a dial, and the request succeeds", async () => {
    const conns: Conn[] = [];
    await using server = await fakeIngress((conn) => {
      conns.push(conn);
      // The first connection with a request closes instead of a response, as an
      // expired one does.
      return conns.length === 1 ? conn.abort() : conn.write(accepted());
    });
    const ingress = createIngress(
      net,
      () => server.settings,
      () => pool,
    );
    ingress.prepare();
    await until("one is ready", () => ingress.stats.ready === 1);
    (await use(ingress)).abort();
    expect(ingress.stats).toMatchObject({ hits: 0, misses: 1, retries: 1 });
    ingress.close();
  });
});

describe("ready connections in trouble", () => {
  test("that cannot be made say why, until one can", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    const right = server.settings.ca;
    let ca = [(await rootCa("Another")).cert];
    const ingress = createIngress(
      net,
      () => ({ ...server.settings, ca }),
      () => pool,
    );
    ingress.prepare();
    await until("the trouble shows", () => ingress.trouble !== undefined);
    expect(ingress.trouble).toMatchObject({
      code: "tls",
      hint: expect.stringContaining("ngrokd trust"),
    });
    ca = [...right];
    ingress.discard();
    await until("one is ready", () => ingress.stats.ready > 0);
    expect(ingress.trouble).toBeUndefined();
    ingress.close();
  });

  test("show that the ingress refuses our certificate before the first request", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    let own: Partial<IngressSettings> = await issue(await rootCa("Another"), "operator", {
      usage: ["client"],
    });
    const ingress = createIngress(
      net,
      () => ({ ...server.settings, ...own }),
      () => pool,
    );
    ingress.prepare();
    await until("the trouble shows", () => ingress.trouble !== undefined);
    expect(ingress.trouble?.message).toMatch(
      /closes every new connection at once|refused our client certificate/,
    );
    own = {};
    ingress.discard();
    await until("one is ready", () => ingress.stats.ready > 0);
    expect(ingress.trouble).toBeUndefined();
    ingress.close();
  });

  test("that the ingress closes at once are a trouble, unless it serves requests", async () => {
    const many = { ...pool, min: 4 };
    const settings = {
      host: "ingress.test",
      port: 443,
      cert: "",
      key: "",
      ca: [],
      insecureSkipVerify: false,
      resume: true,
    };
    const hasty = (answers: boolean): Ingress => {
      const dial: Net["dial"] = async () => {
        const conn = scripted([], "silence");
        return Object.assign(conn, {
          read: () => (answers && conn.written.length > 0 ? accepted() : null),
        });
      };
      return createIngress(
        { ...net, dial },
        () => settings,
        () => many,
      );
    };
    const never = hasty(false);
    never.prepare();
    await until("the trouble shows", () => never.trouble !== undefined);
    expect(never.trouble).toMatchObject({
      code: "aborted",
      message: "The ingress closes every new connection at once",
    });
    never.close();

    const later = hasty(true);
    await use(later);
    later.prepare();
    await until("it has hung up often enough", () => later.stats.dials > 4);
    expect(later.trouble).toBeUndefined();
    later.close();
  });

  test("are made at once if another dial succeeds after an outage", async () => {
    let out = true;
    const dial: Net["dial"] = async () => {
      if (out) throw new NgrokdError("network", "refused");
      return scripted([accepted()], "silence");
    };
    const settings = {
      host: "ingress.test",
      port: 443,
      cert: "",
      key: "",
      ca: [],
      insecureSkipVerify: false,
      resume: true,
    };
    const ingress = createIngress(
      { ...net, dial },
      () => settings,
      () => pool,
    );
    ingress.prepare();
    await until("the third dial has failed", () => ingress.stats.dials === 3);
    // From here on the pool rests for at least a second.
    out = false;
    await use(ingress);
    await until("one is dialled", () => ingress.stats.dials > 4);
    ingress.close();
  });

  test("are not used after their settings", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    let { ca } = server.settings;
    const ingress = createIngress(
      net,
      () => ({ ...server.settings, ca }),
      () => pool,
    );
    ingress.prepare();
    await until("one is ready", () => ingress.stats.ready === 1);
    ca = [(await rootCa("Another")).cert];
    ingress.discard();
    await expect(use(ingress)).rejects.toBeInstanceOf(NgrokdError);
    ingress.close();
  });
});

describe("TLS sessions", () => {
  /** Every offer of a session, and every saved session. */
  function recorded() {
    const seen = { offered: 0, kept: 0 };
    const watched = (sessions: TlsSessions): TlsSessions => ({
      wanted: sessions.wanted,
      get() {
        const session = sessions.get();
        if (session !== undefined) seen.offered += 1;
        return session;
      },
      put(session) {
        seen.kept += 1;
        sessions.put(session);
      },
    });
    const watching: Net = {
      ...net,
      dial(address, { tls, ...rest } = {}) {
        const sessions = tls?.sessions && watched(tls.sessions);
        return net.dial(address, tls === undefined ? rest : { ...rest, tls: { ...tls, sessions } });
      },
    };
    return { seen, watching };
  }

  test("are kept from a verified connection and offered to the next", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    const { seen, watching } = recorded();
    const ingress = createIngress(watching, () => server.settings);
    for (let i = 0; i < 3; i += 1) (await use(ingress)).abort();
    expect(seen).toEqual({ offered: 2, kept: 1 });
  });

  test("are not used if the configuration forbids it", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    const { seen, watching } = recorded();
    const ingress = createIngress(watching, () => ({ ...server.settings, resume: false }));
    for (let i = 0; i < 2; i += 1) (await use(ingress)).abort();
    expect(seen).toEqual({ offered: 0, kept: 0 });
  });

  test("are neither kept nor offered while nothing is verified", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    const { seen, watching } = recorded();
    const insecure = {
      ...server.settings,
      ca: [(await rootCa("Another")).cert],
      insecureSkipVerify: true,
    };
    const ingress = createIngress(watching, () => insecure);
    for (let i = 0; i < 2; i += 1) (await use(ingress)).abort();
    expect(seen).toEqual({ offered: 0, kept: 0 });
  });

  test("do not outlive a CA: after a rotation other servers are refused at once", async () => {
    await using server = await fakeIngress((conn) => conn.write(accepted()));
    let { ca } = server.settings;
    const ingress = createIngress(net, () => ({ ...server.settings, ca }));
    for (let i = 0; i < 2; i += 1) (await use(ingress)).abort();
    ca = [(await rootCa("Another")).cert];
    ingress.discard();
    const error = await use(ingress).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "tls", details: { reason: "SELF_SIGNED_CERT_IN_CHAIN" } });
  });

  test("do not keep an old certificate: after a rotation the new one is shown", async () => {
    const shown: (string | undefined)[] = [];
    await using server = await fakeIngress((conn) => {
      shown.push(conn.peer?.fingerprint256);
      return conn.write(accepted());
    });
    let own: Partial<IngressSettings> = {};
    const ingress = createIngress(net, () => ({ ...server.settings, ...own }));
    for (let i = 0; i < 2; i += 1) (await use(ingress)).abort();
    own = await issue(await rootCa("Another"), "operator", { usage: ["client"] });
    ingress.discard();
    // The fake ingress does not know this CA. So its refusal shows that it saw
    // the new certificate.
    await expect(use(ingress)).rejects.toBeInstanceOf(NgrokdError);
    expect(shown.length).toBe(2);
  });
});
