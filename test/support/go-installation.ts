import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Cloud } from "./cloud.ts";
import { defaultConfig, run } from "./ngrokd.ts";

/** What an installation of the Go program leaves when its daemon has ended. */
export interface GoInstallation {
  /** Lines of the configuration behind those of the installer. */
  readonly settings: string;
  /** `ip_mappings.json` */
  readonly addresses: Readonly<Record<string, string>>;
  /** `network_ports.json` */
  readonly ports?: Readonly<Record<string, number>>;
}

export const goFolder = "/etc/ngrokd";

/** The files of the installation that are taken over as they are. */
export const goFiles = (): Record<string, string> =>
  Object.fromEntries(
    [defaultConfig, `${goFolder}/tls.key`, `${goFolder}/tls.crt`, `${goFolder}/operator_id`].map(
      (path) => [path, readFileSync(path, "utf8")],
    ),
  );

/**
 * Writes the files of an installation that is registered in this cloud.
 * Returns the operator's id.
 */
export async function goInstallation(
  cloud: Cloud,
  { settings, addresses, ports }: GoInstallation,
): Promise<string> {
  mkdirSync(goFolder, { recursive: true });
  mkdirSync("/etc/ssl/certs/ngrok", { recursive: true });
  copyFileSync(cloud.caFile, "/etc/ssl/certs/ngrok/ngrok-ca.crt");
  writeFileSync(defaultConfig, configText(cloud, settings), { mode: 0o644 });
  const key = `${goFolder}/tls.key`;
  await openssl(`ecparam -name secp384r1 -genkey -noout -out ${key}`);
  const csr = await openssl(`req -new -key ${key} -subj /O=ngrokd -batch`);
  const operator = await cloud.api("POST", "/kubernetes_operators", {
    description: "made by the Go program",
    enabled_features: ["bindings"],
    binding: { endpoint_selectors: ["true"], csr },
  });
  writeFileSync(`${goFolder}/tls.crt`, operator.binding.cert.cert);
  writeFileSync(`${goFolder}/operator_id`, operator.id);
  writeFileSync(`${goFolder}/ip_mappings.json`, goJson(addresses));
  if (ports !== undefined) writeFileSync(`${goFolder}/network_ports.json`, goJson(ports));
  const exact = Object.entries(addresses).filter(([host]) => !host.startsWith("wildcard:"));
  const lines = exact.map(([host, ip]) => `${ip}\t${host}\n`);
  const section = `# BEGIN ngrokd managed section\n${lines.join("")}# END ngrokd managed section\n`;
  writeFileSync("/etc/hosts", `${readFileSync("/etc/hosts", "utf8")}\n${section}`);
  return operator.id;
}

/** The installer's file, with the cloud's addresses. */
const configText = ({ apiUrl, apiKey, ingress }: Cloud, settings: string): string => `api:
  url: ${apiUrl}
  key: "${apiKey}"  # Set via: ngrokctl set-api-key YOUR_KEY

ingressEndpoint: "${ingress}"

server:
  log_level: info
  socket_path: /var/run/ngrokd.sock
  client_cert: /etc/ngrokd/tls.crt
  client_key: /etc/ngrokd/tls.key

bound_endpoints:
  poll_interval: 30
  selectors: ['true']

${settings}`;

/** As Go writes it: keys in their order, two spaces, no line end. */
const goJson = (values: Readonly<Record<string, unknown>>): string =>
  JSON.stringify(Object.fromEntries(Object.entries(values).sort()), undefined, 2);

async function openssl(words: string): Promise<string> {
  const { code, out, err } = await run(["openssl", ...words.split(" ")]);
  if (code !== 0) throw new Error(`openssl ${words}: ${err}`);
  return out;
}
