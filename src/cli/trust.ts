import { X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { ingressAddress } from "../account/ingress-address.ts";
import { loadConfig } from "../config/load.ts";
import { ensureWritableFolder, readFileIfThere } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { dialPublished, keepCa, keptCa, shownIn } from "../ingress/published-ca.ts";
import {
  describeTlsFailure,
  type InstalledCa,
  installTrust,
  loadTrust,
  ngrokCa,
  trustFolder,
} from "../ingress/trust.ts";
import { recordFile } from "../journal/journal.ts";
import { distinguishedName } from "../model/distinguished-name.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { proxyFor } from "../model/proxy.ts";
import { createFetch } from "../net/fetch.ts";
import type { PeerCertificate } from "../net/types.ts";
import { command, type Io } from "./command.ts";
import { usageError } from "./flags.ts";

export default command({
  name: "trust",
  description: "Trust ngrok's ingress CA, after checking its fingerprint",
  args: {
    source: {
      type: "positional",
      required: false,
      description: "A PEM file, or an https URL of one; the ingress's own if it is left out",
    },
    folder: {
      type: "string",
      valueHint: "folder",
      default: trustFolder,
      description: "The folder of the trusted CAs",
    },
    force: {
      type: "boolean",
      description: "Trust it even if it is not the CA that ngrok has published",
    },
  },
  examples: [
    "sudo ngrokd trust",
    `sudo ngrokd trust ${ngrokCa.url}`,
    "sudo ngrokd trust ngrok-ca.crt",
  ],
  async run(args, io) {
    if (args.source === undefined) {
      if (args.force === true || args.folder !== trustFolder)
        throw usageError("--force and --folder need a PEM file or an URL", ["trust"]);
      const seen = await lookAtIngress(args.config, io);
      io.say.result(seen, () => seenText(seen));
      return undefined;
    }
    const fetched = /^https?:/i.test(args.source);
    const way = fetched
      ? { fetch: createFetch(io.net, (await loadConfig({ file: args.config, env: io.env })).proxy) }
      : {};
    const { source, folder, force = false } = args;
    const before = (path: string, content: string): Promise<void> =>
      note(path, content, args.config, io);
    const installed = await installTrust({ source, folder, force, before, ...way });
    io.say.result(installed, () => installed.map(installedText).join("\n"));
    return undefined;
  },
});

/** What `ngrokd trust` without an argument has seen. */
interface Seen {
  /** host:port */
  readonly ingress: string;
  readonly certificate: PeerCertificate | undefined;
  /** The CA that is trusted since; undefined if it was trusted before. */
  readonly adopted: {
    readonly path: string;
    readonly subject: string;
    readonly fingerprint256: string;
  } | null;
}

/**
 * Dials the ingress without our certificate, and sends nothing. Keeps a
 * published CA that it shows, as a daemon does. Rejects with NgrokdError `tls`
 * if it is not trusted then, with the chain shown.
 */
async function lookAtIngress(file: string | undefined, { net, env, say }: Io): Promise<Seen> {
  const loaded = await loadConfig({ file, env });
  const { server } = loaded.config;
  const stateFolder = stateFolderOf(server);
  const kept = keptCa(server);
  const { ca } = await loadTrust(
    server.ingress_ca === "" ? { kept } : { kept, extra: server.ingress_ca },
  );
  const saved = await readFileIfThere(stateFiles(stateFolder).ingressEndpoint);
  const address = ingressAddress(loaded, saved?.trim());
  const ingress = hostPortText(address);
  let pem: string | undefined;
  const published = {
    fingerprints: kept.fingerprints,
    adopt(shown: string) {
      pem = shown;
    },
  };
  const signal = AbortSignal.timeout(lookLimitMs);
  const via = proxyFor(address, loaded.proxy);
  const conn = await say.awaiting(`Looking at the ingress ${ingress}`, () =>
    dialPublished(
      (tls) => net.dial(address, { tls, via, signal }),
      { serverName: address.host, ca },
      published,
    ).catch((error: unknown) => {
      throw untrusted(error);
    }),
  );
  const certificate = conn.peer;
  conn.abort();
  if (pem === undefined) return { ingress, certificate, adopted: null };
  await ensureWritableFolder(stateFolder);
  await keepCa(kept, pem);
  const { subject, fingerprint256 } = new X509Certificate(pem);
  const adopted = { path: kept.path, subject: distinguishedName(subject), fingerprint256 };
  return { ingress, certificate, adopted };
}

const lookLimitMs = 15_000;

/** A failed verification, with every certificate that the ingress has shown. */
function untrusted(error: unknown): unknown {
  if (!isNgrokdError(error, "tls")) return error;
  const { code, message, hint, details } = describeTlsFailure(error);
  const chain = shownIn(error).map(
    ({ subject, fingerprint256 }) =>
      `"${distinguishedName(subject)}" with SHA-256 ${fingerprint256}`,
  );
  const shown = chain.length < 2 ? "" : `; its chain is ${chain.join(", then ")}`;
  return new NgrokdError(code, message + shown, { cause: error, hint, details });
}

function seenText({ ingress, certificate, adopted }: Seen): string {
  const issuer = certificate === undefined ? "a CA" : `"${certificate.issuer}"`;
  if (adopted === null)
    return `Already trusted: the ingress "${ingress}" shows a certificate that ${issuer} has issued.`;
  const { path, subject, fingerprint256 } = adopted;
  return `Now trusted: the ingress "${ingress}" shows the CA ${subject}; its SHA-256 ${fingerprint256} is a published one. It is in ${path}; a running daemon uses it from its next poll on.`;
}

/**
 * Records the file for `ngrokd undo`. The CA is installed even if that fails,
 * since the user has named the file and can find it again.
 */
async function note(
  path: string,
  content: string,
  file: string | undefined,
  { env, say }: Io,
): Promise<void> {
  try {
    const { config } = await loadConfig({ file, env });
    const stateFolder = stateFolderOf(config.server);
    await ensureWritableFolder(stateFolder);
    await recordFile(stateFolder, resolve(path), content);
  } catch (error) {
    say.warn(`\`ngrokd undo\` cannot remove "${path}": ${reasonOf(error)}`);
  }
}

function installedText({ path, subject, fingerprint256, published, changed }: InstalledCa): string {
  const what = published
    ? `ngrok's ingress CA (${subject}); its SHA-256 is the published one`
    : `${subject}, which is NOT the CA that ngrok has published; SHA-256 ${fingerprint256}`;
  if (!changed) return `Already trusted: ${what}. It is in ${path}.`;
  const use = "a running daemon uses it from its next poll on";
  return `Now trusted: ${what}. It is in ${path}; ${use}.`;
}
