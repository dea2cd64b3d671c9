import { afterAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A folder of this test file's own, gone after its last test; call it once at
 * the top.
 */
export function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-config-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** As the Go program's installer writes it. */
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
