/**
 * A scripted stand-in for ngrok's ingress: real TLS with client certificates.
 * It reads the header, and the test does the rest.
 */
import {
  type ConnRequest,
  createFrameReader,
  decodeConnRequest,
  encodeConnResponse,
} from "../../src/ingress/frame.ts";
import type { IngressSettings } from "../../src/ingress/ingress-dialer.ts";
import type { Conn } from "../../src/net/types.ts";
import { net } from "./conns.ts";
import { issue, rootCa } from "./pki.ts";

export interface FakeIngress extends AsyncDisposable {
  readonly settings: IngressSettings;
  /** The requests, in order. */
  readonly requests: readonly ConnRequest[];
}

/**
 * Called for each connection after its request, with the bytes after the
 * request. There must be none.
 */
export type Script = (conn: Conn, request: ConnRequest, behind: Uint8Array) => Promise<void> | void;

const ca = await rootCa("Ingress CA");
const server = await issue(ca, "ingress", { names: ["127.0.0.1"], usage: ["server"] });
const client = await issue(ca, "operator", { usage: ["client"] });

export async function fakeIngress(script: Script): Promise<FakeIngress> {
  const requests: ConnRequest[] = [];
  const conns = new Set<Conn>();
  const listener = await net.listen(
    { host: "127.0.0.1", port: 0 },
    async (conn) => {
      conns.add(conn);
      const feed = createFrameReader();
      for (;;) {
        const chunk = await conn.read();
        if (chunk === null) return conn.close();
        const split = feed(chunk);
        if (split.kind === "need-more") continue;
        const request = decodeConnRequest(split.payload);
        if (!request.ok) throw new Error(request.reason);
        requests.push(request.value);
        return await script(conn, request.value, split.rest);
      }
    },
    { tls: { cert: server.cert, key: server.key, clientCa: [ca.cert] } },
  );
  if (!("port" in listener.address)) throw new Error("not a TCP listener");
  const { host, port } = listener.address;
  return {
    settings: {
      host,
      port,
      cert: client.cert,
      key: client.key,
      ca: [ca.cert],
      insecureSkipVerify: false,
      resume: true,
    },
    requests,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const conn of conns) conn.abort();
    },
  };
}

export const accepted = (notices: string[] = []): Uint8Array =>
  encodeConnResponse({ kind: "accepted", endpointId: "ep_1", proto: "tcp", notices });

export const refused = (code: string, message: string, notices: string[] = []): Uint8Array =>
  encodeConnResponse({ kind: "refused", code, message, notices });
