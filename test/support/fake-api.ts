/**
 * A server in place of ngrok's API with scripted answers, and a small ngrok on
 * top of it that signs certificates.
 */
import "reflect-metadata"; // @peculiar/x509 needs it before itself
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Pkcs10CertificateRequest, X509CertificateGenerator } from "@peculiar/x509";
import { rootCa } from "./pki.ts";

export interface Request {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the tests check bodies of many shapes
  readonly json: any;
}

export type Reply =
  | {
      readonly status?: number;
      readonly headers?: Record<string, string>;
      readonly json?: unknown;
      readonly text?: string;
    }
  | "hang" // no headers ever
  | "hang-in-body"
  | "reset"
  | "endless-body";

export interface FakeServer extends AsyncDisposable {
  readonly url: string;
  readonly requests: Request[];
}

export async function fakeServer(
  answer: (request: Request) => Reply | Promise<Reply>,
): Promise<FakeServer> {
  const requests: Request[] = [];
  const server = createServer(async (incoming, outgoing) => {
    outgoing.on("error", () => undefined);
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const request = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      headers: incoming.headers,
      text,
      json: text === "" ? undefined : JSON.parse(text),
    };
    requests.push(request);
    const reply = await answer(request);
    if (reply === "hang") return;
    if (reply === "reset") return void incoming.socket.destroy();
    if (reply === "hang-in-body")
      return void outgoing.writeHead(200, { "content-type": "application/json" }).write("{");
    if (reply === "endless-body") {
      outgoing.writeHead(200, { "content-type": "application/json" });
      const more = (): void => {
        while (!outgoing.destroyed && outgoing.write(Buffer.alloc(64 * 1024, "x")));
      };
      outgoing.on("drain", more);
      return more();
    }
    const { status = 200, headers = {}, json } = reply;
    outgoing.writeHead(status, {
      "content-type": json === undefined ? "text/html" : "application/json",
      ...headers,
    });
    outgoing.end(reply.text ?? (json === undefined ? "" : JSON.stringify(json)));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    [Symbol.asyncDispose]: () => stop(server),
  };
}

function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  return new Promise((done) => server.close(() => done()));
}

export interface FakeNgrok extends FakeServer {
  /** Id to operator, as the API would show it. */
  // biome-ignore lint/suspicious/noExplicitAny: the shape on the wire, which tests change
  readonly operators: Map<string, any>;
  /**
   * Called before each request is served; a returned answer replaces the usual
   * one.
   */
  intercept: (request: Request) => Reply | undefined;
  /** The lifetime of new certificates, in hours from now. */
  hours: number;
  ingressEndpoint: string | undefined;
}

/**
 * Operators as ngrok keeps them: created and updated with a CSR, listed,
 * deleted; 404 in ngrok's shape. Any key is accepted.
 */
export async function fakeNgrok(): Promise<FakeNgrok> {
  const ca = await rootCa("Fake ngrok CA");
  // biome-ignore lint/suspicious/noExplicitAny: see above
  const operators = new Map<string, any>();
  let made = 0;

  const certify = async (csr: string) => {
    const request = new Pkcs10CertificateRequest(csr);
    if (!(await request.verify())) throw new Error("the CSR's signature is wrong");
    const notBefore = new Date(Date.now() - 48 * 3_600_000);
    const notAfter = new Date(Date.now() + ngrok.hours * 3_600_000);
    const certificate = await X509CertificateGenerator.create({
      serialNumber: `01${Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString("hex")}`,
      subject: request.subject,
      issuer: ca.certificate.subject,
      notBefore,
      notAfter,
      signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
      publicKey: request.publicKey,
      signingKey: ca.keys.privateKey,
    });
    return {
      cert: certificate.toString("pem"),
      not_before: notBefore.toISOString(),
      not_after: notAfter.toISOString(),
    };
  };

  const answer = async (request: Request): Promise<Reply> => {
    const intercepted = ngrok.intercept(request);
    if (intercepted !== undefined) return intercepted;
    const id = /^\/kubernetes_operators\/([^/?]+)$/.exec(request.path)?.[1];
    if (request.method === "POST" && request.path === "/kubernetes_operators") {
      const created = {
        ...request.json,
        id: `k8sop_${++made}`,
        uri: `${ngrok.url}/kubernetes_operators/k8sop_${made}`,
      };
      created.binding = {
        ...created.binding,
        ingress_endpoint: ngrok.ingressEndpoint,
        cert: await certify(created.binding.csr),
        csr: undefined,
      };
      operators.set(created.id, created);
      return { status: 201, json: created };
    }
    if (
      request.method === "GET" &&
      request.path.startsWith("/kubernetes_operators") &&
      id === undefined
    ) {
      return {
        json: { operators: [...operators.values()], uri: request.path, next_page_uri: null },
      };
    }
    const operator = id === undefined ? undefined : operators.get(id);
    if (operator === undefined) {
      return {
        status: 404,
        json: {
          error_code: "ERR_NGROK_5",
          status_code: 404,
          msg: "Resource not found",
          details: { operation_id: "op_404" },
        },
      };
    }
    if (request.method === "DELETE") {
      operators.delete(operator.id);
      return { status: 204 };
    }
    if (request.method === "PATCH") operator.binding.cert = await certify(request.json.binding.csr);
    return { json: operator };
  };

  const server = await fakeServer(answer);
  const ngrok: FakeNgrok = Object.assign(server, {
    operators,
    intercept: () => undefined,
    hours: 24 * 90,
    ingressEndpoint: "ingress.example.com",
  });
  return ngrok;
}
