import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { beforeAll, expect, test } from "bun:test";
import { createPublicKey } from "node:crypto";
import { lstatSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { X509CertificateGenerator } from "@peculiar/x509";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, run } from "../support/ngrokd.ts";
import { faultsOf } from "../support/odd.ts";
import { hours, type Identity, issue, rootCa } from "../support/pki.ts";
import { stories } from "../support/story.ts";
import { page } from "../support/web.ts";

const folder = "/etc/ngrokd";
const [crt, key, operatorId] = [`${folder}/tls.crt`, `${folder}/tls.key`, `${folder}/operator_id`];

let cloud: Cloud;
let daemon: Daemon;
let saved: ReadonlyMap<string, string>;
let root: Identity;
let other: Identity;
const text = (path: string): string => saved.get(path) ?? "";

/** What openssl makes of the saved certificate and key. */
function openssl(words: string): Uint8Array {
  const { stdout, exitCode, stderr } = Bun.spawnSync(["openssl", ...words.split(" ")]);
  if (exitCode !== 0) throw new Error(`openssl ${words}: ${stderr}`);
  return stdout;
}

/** A certificate for our own key, which nobody else has signed. */
async function selfSigned(notBefore: Date, notAfter: Date): Promise<string> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const pem = text(key);
  const der = (base64: string) =>
    Uint8Array.from(Buffer.from(base64.replaceAll(/-----.*-----|\s/g, ""), "base64"));
  const spki = createPublicKey(pem).export({ type: "spki", format: "der" });
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: "CN=ours",
    notBefore,
    notAfter,
    signingAlgorithm: algorithm,
    keys: {
      privateKey: await crypto.subtle.importKey("pkcs8", der(pem), algorithm, false, ["sign"]),
      publicKey: await crypto.subtle.importKey("spki", new Uint8Array(spki), algorithm, true, [
        "verify",
      ]),
    },
  });
  return certificate.toString("pem");
}

const instead = (path: string, make: () => unknown): void => {
  rmSync(path, { recursive: true, force: true });
  make();
};

/** Of one row: a file that is changed while the daemon runs. */
interface Oddity {
  readonly name: string;
  readonly put: () => unknown;
  /** What status warns of; without it the file is used. */
  readonly warning?: string;
}

const put = (path: string, bytes: string | Uint8Array): void => writeFileSync(path, bytes);
const noPem = `"${crt}" cannot be read: it is not a certificate in PEM format`;
const noKey = `the key "${key}" cannot be used: it is not a private key in PEM format`;
const locked = "it is encrypted, and ngrokd needs a key without a passphrase";
const unfit = `the certificate "${crt}" does not fit the key "${key}"`;

const identity: readonly Oddity[] = [
  {
    name: "certificate: lines of Windows",
    put: () => put(crt, text(crt).replaceAll("\n", "\r\n")),
  },
  { name: "certificate: text around it", put: () => put(crt, `Data: x\n${text(crt)}\nend\n`) },
  { name: "certificate: no line end", put: () => put(crt, text(crt).trim()) },
  { name: "certificate: its CA behind it", put: () => put(crt, text(crt) + root.cert) },
  { name: "certificate: its key beside it", put: () => put(crt, text(key) + text(crt)) },
  {
    name: "certificate: its CA before it",
    put: () => put(crt, root.cert + text(crt)),
    warning: `"${crt}" begins with the certificate of`,
  },
  { name: "certificate: a byte order mark", put: () => put(crt, `\ufeff${text(crt)}`) },
  { name: "certificate: of another key", put: () => put(crt, other.cert), warning: unfit },
  {
    name: "certificate: expired",
    put: async () => put(crt, await selfSigned(hours(-9), hours(-1))),
    warning: `the certificate "${crt}" expired on`,
  },
  { name: "certificate: empty", put: () => put(crt, ""), warning: noPem },
  { name: "certificate: a word", put: () => put(crt, "hello"), warning: noPem },
  { name: "certificate: cut off", put: () => put(crt, text(crt).slice(0, 300)), warning: noPem },
  {
    name: "certificate: no base64",
    put: () => put(crt, text(crt).replace(/\w{10}/g, "!")),
    warning: noPem,
  },
  {
    name: "certificate: DER",
    put: () => put(crt, openssl(`x509 -in ${crt} -outform DER`)),
    warning: noPem,
  },
  {
    name: "certificate: UTF-16",
    put: () => put(crt, Buffer.from(text(crt), "utf16le")),
    warning: noPem,
  },
  { name: "certificate: NUL bytes", put: () => put(crt, "\0".repeat(2000)), warning: noPem },
  { name: "certificate: a key", put: () => put(crt, text(key)), warning: noPem },
  {
    name: "certificate: a request",
    put: () => put(crt, openssl(`req -new -key ${key} -subj /CN=x`)),
    warning: noPem,
  },
  {
    name: "certificate: 2 MB",
    put: () => put(crt, "# x\n".repeat(500_000) + text(crt)),
    warning: "no more than 1048576 are read",
  },
  {
    name: "certificate: gone",
    put: () => rmSync(crt),
    warning: `there is a key but no certificate "${crt}"`,
  },
  {
    name: "certificate: a link to nowhere",
    put: () => instead(crt, () => symlinkSync("/nowhere", crt)),
    warning: "no certificate",
  },
  {
    name: "certificate: a folder",
    put: () => instead(crt, () => mkdirSync(crt)),
    warning: `Cannot read "${crt}": it is a folder`,
  },
  {
    name: "certificate: a pipe",
    put: () => instead(crt, () => Bun.spawnSync(["mkfifo", crt])),
    warning: `Cannot read "${crt}": it is not a file`,
  },
  {
    name: "certificate: an endless device",
    put: () => instead(crt, () => symlinkSync("/dev/zero", crt)),
    warning: "it is not a file",
  },
  { name: "key: lines of Windows", put: () => put(key, text(key).replaceAll("\n", "\r\n")) },
  { name: "key: text before it", put: () => put(key, `Bag Attributes\n  x: y\n${text(key)}`) },
  { name: "key: a byte order mark", put: () => put(key, `\ufeff${text(key)}`) },
  { name: "key: as Go writes it", put: () => put(key, openssl(`ec -in ${key}`)) },
  {
    name: "key: parameters before it",
    put: () =>
      put(key, Buffer.concat([openssl("ecparam -name prime256v1"), openssl(`ec -in ${key}`)])),
  },
  {
    name: "key: encrypted",
    put: () => put(key, openssl(`pkcs8 -topk8 -in ${key} -passout pass:x`)),
    warning: locked,
  },
  {
    name: "key: encrypted the old way",
    put: () => put(key, openssl(`ec -in ${key} -aes128 -passout pass:x`)),
    warning: locked,
  },
  { name: "key: of another certificate", put: () => put(key, other.key), warning: unfit },
  { name: "key: RSA", put: () => put(key, openssl("genrsa 2048")), warning: unfit },
  {
    name: "key: Ed25519",
    put: () => put(key, openssl("genpkey -algorithm ed25519")),
    warning: unfit,
  },
  {
    name: "key: DER",
    put: () => put(key, openssl(`pkcs8 -topk8 -nocrypt -in ${key} -outform DER`)),
    warning: noKey,
  },
  {
    name: "key: the public half",
    put: () => put(key, openssl(`pkey -in ${key} -pubout`)),
    warning: noKey,
  },
  { name: "key: a certificate", put: () => put(key, text(crt)), warning: noKey },
  { name: "key: empty", put: () => put(key, ""), warning: noKey },
  { name: "key: gone", put: () => rmSync(key), warning: `there is no key "${key}"` },
  {
    name: "key: a folder",
    put: () => instead(key, () => mkdirSync(key)),
    warning: "it is a folder",
  },
  {
    name: "operator id: line ends behind it",
    put: () => put(operatorId, `${text(operatorId)}\r\n\n`),
  },
  { name: "operator id: empty", put: () => put(operatorId, ""), warning: "holds no operator id" },
  {
    name: "operator id: a path",
    put: () => put(operatorId, "../../etc/passwd"),
    warning: "holds no operator id",
  },
];

const ca = (): string => cloud.caFile;
const intoFolder = (files: Readonly<Record<string, string>>): void =>
  instead(ca(), () => {
    mkdirSync(ca());
    for (const [name, content] of Object.entries(files)) put(`${ca()}/${name}`, content);
  });
const broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const nothingIn = "there is no certificate in it";

const authorities: readonly Oddity[] = [
  { name: "lines of Windows", put: () => put(ca(), text(ca()).replaceAll("\n", "\r\n")) },
  { name: "text around it", put: () => put(ca(), `# mine\n====\n${text(ca())}\nend\n`) },
  { name: "a byte order mark", put: () => put(ca(), `\ufeff${text(ca())}`) },
  { name: "no line end", put: () => put(ca(), text(ca()).trim()) },
  { name: "another one before it", put: () => put(ca(), root.cert + text(ca())) },
  { name: "a key behind it", put: () => put(ca(), text(ca()) + other.key) },
  { name: "500 times the same", put: () => put(ca(), text(ca()).repeat(500)) },
  {
    name: "a broken one behind it",
    put: () => put(ca(), text(ca()) + broken),
    warning: "cannot be read",
  },
  { name: "a folder of them", put: () => intoFolder({ "a.pem": text(ca()), README: "x" }) },
  {
    name: "a folder with others",
    put: () => intoFolder({ "a.pem": text(ca()), "b.pem": "x" }),
    warning: '/b.pem" holds no certificate that can be read',
  },
  { name: "an empty folder", put: () => intoFolder({}), warning: nothingIn },
  { name: "empty", put: () => put(ca(), ""), warning: nothingIn },
  {
    name: "DER",
    put: () => put(ca(), openssl(`x509 -in ${ca()} -outform DER`)),
    warning: nothingIn,
  },
  { name: "a key", put: () => put(ca(), other.key), warning: nothingIn },
  { name: "cut off", put: () => put(ca(), text(ca()).slice(0, 200)), warning: nothingIn },
  {
    name: "a pipe",
    put: () => instead(ca(), () => Bun.spawnSync(["mkfifo", ca()])),
    warning: "is not a file",
  },
  {
    name: "an endless device",
    put: () => instead(ca(), () => symlinkSync("/dev/zero", ca())),
    warning: "is not a file",
  },
];

stories("while the daemon runs, a file becomes odd:", () => {
  beforeAll(async () => {
    const config = { bound_endpoints: { poll_interval: 3600 } };
    ({ cloud, daemon } = await registered({ config }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.refresh();
    await daemon.becomes("hello.demo", "listening");
    const paths = [crt, key, operatorId, cloud.caFile];
    saved = new Map(paths.map((path) => [path, readFileSync(path, "utf8")]));
    const authority = await rootCa();
    root = authority;
    other = await issue(authority, "other");
  });

  /** Puts the files back as they were. */
  const restore = (): void => {
    for (const [path, before] of saved) {
      const isFile = lstatSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
      if (isFile && readFileSync(path, "utf8") === before) continue;
      instead(path, () => writeFileSync(path, before, { mode: 0o600 }));
    }
  };

  const row = async ({ put, warning }: Oddity): Promise<void> => {
    await put();
    const polled = await ngrokd("refresh");
    const { warnings, phase, pid } = await daemon.status();
    const works = (await run(["curl", "-sS", "--max-time", "60", "http://127.0.0.2/"])).out;
    restore();
    await daemon.refresh();
    const after = await daemon.status();
    expect({ code: polled.code, faults: faultsOf(polled), phase, pid, works }).toEqual({
      code: 0,
      faults: [],
      phase: "serving",
      pid: daemon.pid,
      works: "hello",
    });
    if (warning === undefined) expect(warnings).toEqual([]);
    else expect(warnings.join("\n")).toContain(warning);
    expect({ phase: after.phase, warnings: after.warnings }).toEqual({
      phase: "serving",
      warnings: [],
    });
    expect((await cloud.operators()).length).toBe(1);
  };

  test.each(identity)("$name: it is used, or told of while the one before counts", row);
  test.each(authorities)("CA of the ingress: $name: likewise", row);
});
