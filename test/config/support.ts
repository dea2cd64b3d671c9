import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A new folder, removed after the last test. Call it once in a test file. */
export function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-config-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The file that the installer of the Go program writes. */
export const fileOfTheGoProgram = `api:
  url: https://api.ngrok.com
  key: ""  # Set via: ngrokctl set-api-key YOUR_KEY

ingressEndpoint: "kubernetes-binding-ingress.ngrok.io:443"

server:
  log_level: info
  socket_path: /var/run/ngrokd.sock
  client_cert: /etc/ngrokd/tls.crt
  client_key: /etc/ngrokd/tls.key

bound_endpoints:
  poll_interval: 30
  selectors: ['true']

net:
  interface_name: ngrokd0
  subnet: 10.107.0.0/16
  listen_interface: virtual
  start_port: 9080
`;
