import { type Doorway, doorId } from "../../src/exposure/exposure.ts";
import { bindingsOf } from "../../src/model/binding.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import type { Conn, Listener } from "../../src/net/types.ts";
import type { ForwardDeps } from "../../src/relay/forward.ts";
import { ip } from "../machine/support.ts";
import { net, pair } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

export const endpoint = (id: string, url: string): ApiEndpoint => ({ id, url, proto: "" });

/** The door of an endpoint at an address, with its route. */
export function doorway(url: string, at: string, id = "ep_1"): Doorway {
  const [binding] = bindingsOf([endpoint(id, url)]).bindings;
  if (binding === undefined) throw new Error(`${url} is no endpoint`);
  const door = doorId(ip(at), binding.port);
  return {
    door: { id: door, at: { ip: ip(at), port: binding.port }, greet: "fixed" },
    routes: [{ door, match: { kind: "any" }, target: { account: "default", binding } }],
  };
}

/** An ingress whose endpoints all send their input back. */
export function echoing(): ForwardDeps {
  return {
    account: "default",
    openTimeoutMs: 5000,
    log: memoryLog(),
    ingress: {
      async open() {
        const [conn, far] = await pair();
        void echo(far);
        return {
          kind: "accepted",
          conn,
          first: new Uint8Array(0),
          endpointId: "ep_1",
          proto: "tcp",
          notices: [],
        };
      },
    },
  };
}

async function echo(conn: Conn): Promise<void> {
  try {
    for (let chunk = await conn.read(); chunk !== null; chunk = await conn.read())
      await conn.write(chunk);
    conn.close();
  } catch {
    conn.abort();
  }
}

/** Another program that listens there. */
export const occupy = (host: string, port: number): Promise<Listener> =>
  net.listen({ host, port }, (conn) => conn.close());
