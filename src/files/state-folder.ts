import { dirname, join } from "node:path";

/** The state folder: it holds the client certificate and the files below. */
export const stateFolderOf = (server: { readonly client_cert: string }): string =>
  dirname(server.client_cert);

/** The state folder of a profile beside the default one. */
export const profileFolder = (stateFolder: string, profile: string): string =>
  join(stateFolder, "profiles", profile);

export interface StateFiles {
  /** Which address each host name has (see loadAssignment). */
  readonly assignment: string;
  /** Which port each binding has for other machines (see loadPorts). */
  readonly ports: string;
  /** The last list of endpoints that ngrok sent (see loadLastList). */
  readonly lastList: string;
  /** What ngrokd has changed on this machine (see readJournal). */
  readonly journal: string;
  /** The operator's id, as text without a line end. */
  readonly operatorId: string;
  /** `host:port` of the ingress, as ngrok named it. */
  readonly ingressEndpoint: string;
  /** ngrok's CA, as the ingress has shown it (see keptCa). */
  readonly ingressCa: string;
  /** The hosts file as it was before ngrokd first changed it. */
  readonly hostsOriginal: string;
  /** Two copies that finish or undo a write of the hosts file after a crash. */
  readonly hostsBefore: string;
  readonly hostsAfter: string;
  /** What is known about names beyond their addresses (see readKnownNames). */
  readonly names: string;
  /** The Go program's copy of resolv.conf. */
  readonly resolvConfGo: string;
}

/** The paths of the files in a state folder. */
export function stateFiles(folder: string): StateFiles {
  return {
    assignment: join(folder, "ip_mappings.json"),
    ports: join(folder, "network_ports.json"),
    lastList: join(folder, "endpoints.json"),
    journal: join(folder, "journal.json"),
    operatorId: join(folder, "operator_id"),
    ingressEndpoint: join(folder, "ingress_endpoint"),
    ingressCa: join(folder, "ingress-ca.pem"),
    hostsOriginal: join(folder, "hosts.original"),
    hostsBefore: join(folder, "hosts.before"),
    hostsAfter: join(folder, "hosts.after"),
    names: join(folder, "names.json"),
    resolvConfGo: join(folder, "resolv.conf.bak"),
  };
}
