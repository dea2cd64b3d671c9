import { ingressAddress } from "../account/ingress-address.ts";
import { createLister } from "../account/lister.ts";
import { createApi } from "../cloud/api.ts";
import { inspectCertificate, renewalDue } from "../cloud/certificate.ts";
import { identityPaths, type LoadedIdentity, loadIdentity } from "../cloud/identity-files.ts";
import type { Loaded } from "../config/load.ts";
import { chosenName, ofProfile, profilesOf } from "../config/profiles.ts";
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
import { type OwnHosts, policyNow } from "../machine/own-names.ts";
import { createSavedPorts } from "../machine/ports-file.ts";
import { resolverFacts } from "../machine/resolver/facts.ts";
import { wayFor } from "../machine/resolver/way.ts";
import { parseApiKey } from "../model/api-key.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError } from "../model/error.ts";
import { parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { silentLog } from "../model/log.ts";
import { defaultProfile } from "../model/profile.ts";
import { createNames } from "../names/names.ts";
import { askServers } from "../names/question.ts";
import { suffixesFor } from "../names/suffixes.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import { userAgent } from "../version.ts";
import {
  namePolicy,
  namesBelow,
  resolvConfNow,
  subjectsOf,
  wordNow,
  zonesOf,
} from "./name-policy.ts";
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
  /** The identity of each profile that was asked, if there are several. */
  readonly profiles?: readonly ProfileIdentity[];
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

export interface ProfileIdentity {
  readonly name: string;
  readonly identity: IdentityPreview;
}

/** What a running daemon serves. */
export interface Served {
  readonly listening: readonly Listening[];
  readonly zones: readonly string[];
}

/**
 * Finds the changes of the next pass: reads files and calls ngrok's API, and
 * changes nothing. `served` is of a running daemon. With `profile` only its API
 * is asked, and the others keep what they serve. Rejects with NgrokdError
 * `config` without an API key, and with the errors of the files and the API.
 */
export async function lookAhead(
  net: Net,
  loaded: Loaded,
  { listening, zones }: Served,
  {
    profile,
    signal,
  }: { readonly profile?: string | undefined; readonly signal?: AbortSignal } = {},
): Promise<LookAhead> {
  const { config, hostsPath } = loaded;
  const names = profilesOf(loaded);
  const asked = profile === undefined ? names : [chosenName(names, profile)];
  const looks = await Promise.all(
    names.map((name) =>
      lookAtProfile(net, ofProfile(loaded, name), {
        name,
        isAsked: asked.includes(name),
        isOnly: names.length === 1,
        listening,
        signal: signal ?? AbortSignal.timeout(60_000),
      }),
    ),
  );
  const told = looks.filter(({ name }) => asked.includes(name));
  const identities = told.map(({ name, identity }): ProfileIdentity => ({ name, identity }));
  const identity = identities[0]?.identity ?? nothingChanges;
  const whose = names.length === 1 ? { identity } : { identity, profiles: identities };
  if (told.every(({ own }) => own === undefined))
    return { ...whose, changes: undefined, resolver: "", network: undefined };
  const [saved, hosts] = await Promise.all([
    readAssignment(stateFiles(stateFolderOf(config.server)).assignment),
    inspectHostsFile(hostsPath, new Map()),
  ]);
  const assignment = saved?.ok === true ? saved.value.assignment : new Map();
  const wanted: ReadonlySet<Hostname> = saved?.ok === true ? saved.value.asked : new Set();
  const below = namesBelow(config, wanted);
  const accounts = looks.map(({ name, listed }) => ({ account: name, listed }));
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
    accounts,
    saved: assignment,
    below,
    sharing: networkMode(config, { ports }),
    zones,
    ground,
    policy: {
      ...(await policyNow({
        hostsPath,
        own: looks.flatMap(({ own }) => own ?? []),
        accounts,
        below: [...below.asked, ...below.expanded, ...ofNames.aliases.keys()],
        assignment,
        reservedPorts: config.forward.reserved_ports,
        isPublicDomain: (await suffixesFor(zonesOf(accounts))).isDomain,
      })),
      ...ofNames,
    },
    listening,
    hosts: hosts.before,
  });
  const facts = await resolverFacts(config.net.interface_name, config.dns.manage_resolv_conf);
  const server = parseHostPort(config.dns.listen, 53);
  const { text } = wayFor(facts, server.ok ? server.value.host : config.dns.listen);
  return { ...whose, changes, network: { ...networkFacts(ground), remarks }, resolver: text };
}

const nothingChanges: IdentityPreview = { registration: "none", certificate: "none", reason: "" };

interface ProfileLook extends ProfileIdentity {
  readonly listed: readonly ApiEndpoint[];
  /** Undefined before a registration. */
  readonly own: OwnHosts | undefined;
}

async function lookAtProfile(
  net: Net,
  loaded: Loaded,
  how: {
    readonly name: string;
    readonly isAsked: boolean;
    readonly isOnly: boolean;
    readonly listening: readonly Listening[];
    readonly signal: AbortSignal;
  },
): Promise<ProfileLook> {
  const { config } = loaded;
  const { name, isAsked, isOnly, listening, signal } = how;
  const found = await loadIdentity(identityPaths(config.server));
  const identity = identityPreview(found, new Date());
  const key = parseApiKey(config.api.key);
  if (found.kind !== "identity")
    return { name, identity: key.ok ? identity : withoutKey(identity), listed: [], own: undefined };
  const { operatorId, ingressEndpoint } = found.identity;
  const own = ownHosts(loaded, ingressAddress(loaded, ingressEndpoint).host);
  if (!key.ok && isOnly)
    throw new NgrokdError("config", "Cannot ask ngrok without an API key", {
      hint: "run `ngrokd set-api-key`",
    });
  if (!key.ok || !isAsked) {
    const listed = listening
      .filter(({ profile = defaultProfile }) => profile === name)
      .map(({ url }): ApiEndpoint => ({ id: "", url, proto: "" }));
    return { name, identity, listed, own };
  }
  const api = createApi({
    url: config.api.url,
    key: key.value,
    userAgent: userAgent(),
    fetch: createFetch(net, loaded.proxy),
  });
  return { name, identity, listed: await createLister(silentLog)(api, operatorId, signal), own };
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
  await names.look(subjectsOf(accounts), wordNow(loaded, names, accounts), patienceMs);
  return namePolicy(loaded, names);
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
