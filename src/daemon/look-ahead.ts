import { defaultAccount } from "../account/account-name.ts";
import { ingressAddress } from "../account/ingress-address.ts";
import { createLister } from "../account/lister.ts";
import { createApi } from "../cloud/api.ts";
import { inspectCertificate, renewalDue } from "../cloud/certificate.ts";
import { identityPaths, type LoadedIdentity, loadIdentity } from "../cloud/identity-files.ts";
import type { Loaded } from "../config/load.ts";
import type { Assignment } from "../exposure/allocate.ts";
import type { AccountEndpoints } from "../exposure/expose.ts";
import {
  type GroundDecision,
  groundWish,
  type NetworkFacts,
  networkFacts,
} from "../exposure/ground.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { readAssignment } from "../machine/assignment-file.ts";
import { inspectHostsFile } from "../machine/hosts/file.ts";
import { groundAhead } from "../machine/link/ground-ahead.ts";
import { policyNow } from "../machine/own-names.ts";
import { createSavedPorts } from "../machine/ports-file.ts";
import { resolverFacts } from "../machine/resolver/facts.ts";
import { wayFor } from "../machine/resolver/way.ts";
import { parseApiKey } from "../model/api-key.ts";
import { NgrokdError } from "../model/error.ts";
import { parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { silentLog } from "../model/log.ts";
import { createNames } from "../names/names.ts";
import { askServers } from "../names/question.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import { userAgent } from "../version.ts";
import { namePolicy, namesBelow, resolvConfNow, rulesNow, subjectsOf } from "./name-policy.ts";
import { networkMode } from "./network-mode.ts";
import { ownHosts } from "./own-hosts.ts";
import { type Listening, type Preview, preview } from "./preview.ts";

/** The effect of a pass on the identity, which is before any endpoint. */
export interface IdentityPreview {
  /**
   * `new`: a new operator. `again`: the operator in the files, or the one of
   * the key in the files, gets a new certificate. A new operator if there is
   * none.
   */
  readonly registration: "none" | "new" | "again";
  readonly certificate: "none" | "renew";
  /** The reason; empty if nothing changes. */
  readonly reason: string;
}

export interface LookAhead {
  readonly identity: IdentityPreview;
  /**
   * Undefined before a registration: ngrok then lists no endpoints for this
   * machine.
   */
  readonly changes: Preview | undefined;
  /** How this machine's resolver would be told about zones, in words. */
  readonly resolver: string;
  /** Where the addresses will come from; undefined as for `changes`. */
  readonly network: (NetworkFacts & Pick<GroundDecision, "remarks">) | undefined;
}

/** What a running daemon serves. */
export interface Served {
  readonly listening: readonly Listening[];
  readonly zones: readonly string[];
}

/**
 * Finds the changes of the next pass: reads files and calls ngrok's API, and
 * changes nothing. `served` is of a running daemon. Rejects
 * with NgrokdError `config` without an API key, and with the errors of the
 * files and the API.
 */
export async function lookAhead(
  net: Net,
  loaded: Loaded,
  { listening, zones }: Served,
  signal?: AbortSignal,
): Promise<LookAhead> {
  const { config } = loaded;
  const found = await loadIdentity(identityPaths(config.server));
  const identity = identityPreview(found, new Date());
  const key = parseApiKey(config.api.key);
  if (found.kind !== "identity")
    return {
      identity: key.ok ? identity : withoutKey(identity),
      changes: undefined,
      resolver: "",
      network: undefined,
    };
  if (!key.ok)
    throw new NgrokdError("config", "Cannot ask ngrok without an API key", {
      hint: "run `ngrokd set-api-key`",
    });
  const api = createApi({
    url: config.api.url,
    key: key.value,
    userAgent: userAgent(),
    fetch: createFetch(net, loaded.proxy),
  });
  const { operatorId, ingressEndpoint } = found.identity;
  const [listed, saved, hosts] = await Promise.all([
    createLister(silentLog)(api, operatorId, signal ?? AbortSignal.timeout(60_000)),
    readAssignment(stateFiles(stateFolderOf(config.server)).assignment),
    inspectHostsFile(loaded.hostsPath, new Map()),
  ]);
  const assignment = saved?.ok === true ? saved.value.assignment : new Map();
  const asked: ReadonlySet<Hostname> = saved?.ok === true ? saved.value.asked : new Set();
  const below = namesBelow(config, asked);
  const accounts = [{ account: defaultAccount, listed }];
  const ofNames = await namesAhead(loaded, accounts, assignment);
  const { ground, remarks } = await groundAhead({
    net,
    stateFolder: stateFolderOf(config.server),
    wish: groundWish(config.net),
    saved: [...assignment.values()].at(-1),
  });
  const ports = createSavedPorts(stateFiles(stateFolderOf(config.server)).ports, silentLog);
  await ports.look();
  const changes = preview({
    account: defaultAccount,
    listed,
    saved: assignment,
    below,
    sharing: networkMode(config, { ports }),
    zones,
    ground,
    policy: {
      ...(await policyNow({
        hostsPath: loaded.hostsPath,
        own: [ownHosts(loaded, ingressAddress(loaded, ingressEndpoint).host)],
        accounts,
        below: [...below.asked, ...below.expanded, ...ofNames.aliases.keys()],
        assignment,
        reservedPorts: config.forward.reserved_ports,
      })),
      ...ofNames,
    },
    listening,
    hosts: hosts.before,
  });
  const facts = await resolverFacts(config.net.interface_name, config.dns.manage_resolv_conf);
  const server = parseHostPort(config.dns.listen, 53);
  const { text } = wayFor(facts, server.ok ? server.value.host : config.dns.listen);
  return { identity, changes, network: { ...networkFacts(ground), remarks }, resolver: text };
}

/** The same decision about names as the daemon's; the file is only read. */
async function namesAhead(
  loaded: Loaded,
  accounts: readonly AccountEndpoints[],
  assignment: Assignment,
): Promise<ReturnType<typeof namePolicy>> {
  const { config } = loaded;
  const names = createNames({
    stateFolder: stateFolderOf(config.server),
    assignment: () => assignment,
    ask: askServers,
    conf: () => resolvConfNow(config),
    log: silentLog,
    changed: () => undefined,
    keeps: false,
  });
  await names.load();
  await names.look(subjectsOf(accounts), rulesNow(config, names), patienceMs);
  return namePolicy(config, names);
}

/** How long a preview waits for the name servers. */
const patienceMs = 5000;

const withoutKey = (identity: IdentityPreview): IdentityPreview => ({
  ...identity,
  reason: `${identity.reason}; this needs an API key, and there is none (\`sudo ngrokd set-api-key\`)`,
});

/** Pure: the effect of a pass on the identity. */
export function identityPreview(found: LoadedIdentity, now: Date): IdentityPreview {
  if (found.kind === "none")
    return {
      registration: "new",
      certificate: "none",
      reason: "this machine has not been registered yet",
    };
  if (found.kind === "unusable")
    return { registration: "again", certificate: "none", reason: found.reason };
  const certificate = inspectCertificate(found.identity.certPem);
  const due = certificate.ok && renewalDue(certificate.value, now);
  if (!due) return { registration: "none", certificate: "none", reason: "" };
  const until = certificate.value.notAfter.toISOString();
  return {
    registration: "none",
    certificate: "renew",
    reason: `it ends on ${until}, and less than a third of its life is left`,
  };
}
