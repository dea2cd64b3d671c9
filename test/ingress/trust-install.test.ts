import { describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { chmod, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ngrokCa } from "../../src/ingress/ngrok-ca.ts";
import { loadTrust } from "../../src/ingress/trust.ts";
import { installTrust } from "../../src/ingress/trust-install.ts";
import { fakeServer } from "../support/fake-api.ts";
import {
  broken,
  failure,
  fingerprintOf,
  other,
  ours,
  published,
  tempFolder,
} from "./trust-support.ts";

describe("installTrust", () => {
  test("installs ngrok's CA from a file, for all to read, under its own name", async () => {
    await using folder = await tempFolder({ "download.pem": `some text\n${ours.cert}` });
    const target = join(folder.path, "ssl", "ngrok");
    const installed = await installTrust({
      source: join(folder.path, "download.pem"),
      folder: target,
      published,
    });
    const path = join(target, "ngrok-ca.crt");
    expect(installed).toEqual([
      {
        path,
        subject: "CN=Made Intermediate, O=Test",
        issuer: "CN=Made Root, O=Test",
        fingerprint256: published,
        notAfter: new Date(new X509Certificate(ours.cert).validTo),
        published: true,
        changed: true,
      },
    ]);
    expect(fingerprintOf(await readFile(path, "utf8"))).toBe(published);
    expect((await stat(path)).mode & 0o777).toBe(0o644);
    expect((await loadTrust({ folder: target })).sources[1]).toEqual({
      name: target,
      certificates: 1,
    });
  });
});

describe("installTrust with a certificate that is there or another's", () => {
  test("says that nothing changed the second time", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert });
    const install = () =>
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "t"),
        published,
      });
    expect((await install())[0]?.changed).toBe(true);
    expect((await install())[0]?.changed).toBe(false);
  });

  test("refuses another CA, naming both fingerprints, and installs nothing", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert + other.cert });
    const error = await failure(
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "t"),
        published,
      }),
    );
    expect(error.code).toBe("tls");
    for (const part of ["CN=Other CA, O=Test", fingerprintOf(other.cert), published])
      expect(error.message).toContain(part);
    expect(error.hint).toContain("--force");
    expect(await readdir(folder.path)).toEqual(["ca.pem"]);
  });

  test("compares with ngrok's published fingerprint by default", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert });
    const error = await failure(
      installTrust({ source: join(folder.path, "ca.pem"), folder: folder.path }),
    );
    expect(error.message).toContain(ngrokCa.fingerprint256);
    expect(ngrokCa.fingerprint256).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  });

  test("with force installs other CAs too, one file each, and only certificates", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert + other.cert + other.key });
    const target = join(folder.path, "t");
    const installed = await installTrust({
      source: join(folder.path, "ca.pem"),
      folder: target,
      force: true,
      published,
    });
    const name = `ca-${fingerprintOf(other.cert).replaceAll(":", "").slice(0, 16).toLowerCase()}.crt`;
    expect(installed.map(({ published, path }) => [published, path])).toEqual([
      [true, join(target, "ngrok-ca.crt")],
      [false, join(target, name)],
    ]);
    expect((await readdir(target)).sort()).toEqual([name, "ngrok-ca.crt"]);
    expect(await readFile(join(target, name), "utf8")).not.toContain("PRIVATE");
  });

  test.each([
    ["there is none", "hello", "no certificate in it"],
    ["it is broken", broken, "1 of its certificates cannot be read"],
    ["one of several is broken", ours.cert + broken, "1 of its certificates cannot be read"],
    ["it ends in the middle", ours.cert.slice(0, 200), "1 of its certificates cannot be read"],
  ])("refuses a text if %s, with and without force", async (_, text, said) => {
    await using folder = await tempFolder({ "ca.pem": text });
    for (const force of [false, true]) {
      const error = await failure(
        installTrust({
          source: join(folder.path, "ca.pem"),
          folder: join(folder.path, "t"),
          force,
          published,
        }),
      );
      expect(error.code).toBe("usage");
      expect(error.message).toContain(said);
    }
    expect(await readdir(folder.path)).toEqual(["ca.pem"]);
  });

  test("says that a file is not there", async () => {
    expect(await failure(installTrust({ source: "/nowhere/ca.pem", published }))).toMatchObject({
      code: "state",
    });
  });

  test("names the folder that it may not write", async () => {
    await using folder = await tempFolder({ "ca.pem": ours.cert, file: "" });
    await chmod(join(folder.path, "file"), 0o400);
    const error = await failure(
      installTrust({
        source: join(folder.path, "ca.pem"),
        folder: join(folder.path, "file", "t"),
        published,
      }),
    );
    expect(error.message).toContain(join(folder.path, "file", "t"));
  });
});

describe("installTrust from a URL", () => {
  test("fetches a URL, over plain http too, for the fingerprint proves it", async () => {
    await using server = await fakeServer(({ path }) =>
      path === "/moved" ? { status: 302, headers: { location: "/ca" } } : { text: ours.cert },
    );
    await using folder = await tempFolder();
    for (const path of ["/ca", "/moved"]) {
      expect(
        await installTrust({ source: server.url + path, folder: folder.path, published }),
      ).toMatchObject([{ published: true }]);
    }
    const fetch = async () => new Response(ours.cert);
    expect(
      await installTrust({
        source: "http://example.com/ca",
        folder: folder.path,
        published,
        fetch,
      }),
    ).toMatchObject([{ changed: false }]);
  });

  test("with force checks every hop of a redirect, not the last one alone", async () => {
    await using folder = await tempFolder();
    const asked: string[] = [];
    const hops: Record<string, string> = {
      "https://example.com/ca": "http://example.com/open",
      "http://example.com/open": "https://example.com/end",
    };
    const fetch = async (url: string) => {
      asked.push(url);
      const location = hops[url];
      return location === undefined
        ? new Response(other.cert)
        : new Response(null, { status: 302, headers: { location } });
    };
    const options = { source: "https://example.com/ca", folder: folder.path, published, fetch };
    expect(await failure(installTrust({ ...options, force: true }))).toMatchObject({
      code: "usage",
      message: expect.stringContaining('"http://example.com/open"'),
    });
    expect(asked).toEqual(["https://example.com/ca"]);
    expect(await readdir(folder.path)).toEqual([]);
  });

  test.each([
    ["file:///etc/ssl/ca.pem", "which is no http or https URL"],
    ["data:text/plain,x", "which is no http or https URL"],
    ["/ca", "redirects more than 5 times"],
  ])("does not follow a redirect to %s for ever, or anywhere", async (location, said) => {
    await using folder = await tempFolder();
    let asked = 0;
    const fetch = async () => {
      asked += 1;
      return new Response(null, { status: 302, headers: { location } });
    };
    const source = "https://example.com/ca";
    const error = await failure(installTrust({ source, folder: folder.path, published, fetch }));
    expect(error.message).toContain(said);
    expect(asked).toBeLessThan(7);
  });

  test("with force takes plain http from loopback alone, a redirect to it included", async () => {
    await using server = await fakeServer(() => ({ text: other.cert }));
    await using folder = await tempFolder();
    const force = { folder: folder.path, force: true, published };
    expect((await installTrust({ source: `${server.url}/ca`, ...force })).length).toBe(1);
    const never = async () => {
      throw new Error("must not be fetched");
    };
    for (const source of [
      "http://example.com/ca",
      "http://127.0.0.1.example.com/ca",
      "HTTP://example.com/ca",
    ]) {
      expect((await failure(installTrust({ source, fetch: never, ...force }))).code).toBe("usage");
    }
    const redirected = async () =>
      Object.defineProperty(new Response(other.cert), "url", { value: "http://example.com/ca" });
    expect(
      (
        await failure(
          installTrust({ source: "https://example.com/ca", fetch: redirected, ...force }),
        )
      ).code,
    ).toBe("usage");
    expect(
      (
        await installTrust({
          source: "https://example.com/ca",
          fetch: async () => new Response(other.cert),
          ...force,
        })
      ).length,
    ).toBe(1);
  });

  test.each([
    ["404", { status: 404, text: "no" }, "the server answered 404"],
    ["a reset", "reset", "Cannot fetch"],
    ["endless bytes", "endless-body", "more than 4194304 bytes"],
  ] as const)("reports a URL that returns %s", async (_, reply, said) => {
    await using server = await fakeServer(() => reply);
    const error = await failure(
      installTrust({ source: `${server.url}/ca`, folder: "/nowhere", published }),
    );
    expect(error.code).toBe("network");
    expect(error.message).toContain(said);
  });
});
