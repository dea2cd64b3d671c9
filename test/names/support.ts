import { createSocket } from "node:dgram";
import packet from "dns-packet";

/** The records of a name: addresses, an empty name, or another result. */
export type Records = readonly string[] | "servfail" | "silent";

export interface NameServer {
  /** `127.0.0.1#port`, as in resolv.conf of some systems. */
  readonly at: string;
  /** The questions so far, as `name type`. */
  readonly asked: string[];
  close(): void;
}

/** A name server with these records; all other names do not exist. */
export async function nameServer(
  records: Readonly<Record<string, Records>>,
  port = 0,
  host = "127.0.0.1",
): Promise<NameServer> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (bytes, from) => {
    const query = packet.decode(Buffer.from(bytes));
    const [question] = query.questions ?? [];
    if (question === undefined) return;
    const name = question.name.toLowerCase();
    asked.push(`${name} ${question.type}`);
    const found = records[name];
    if (found === "silent") return;
    const addresses = Array.isArray(found) ? found : [];
    const isWanted = (address: string): boolean =>
      address.includes(":") === (question.type === "AAAA");
    const code = found === "servfail" ? 2 : found === undefined ? 3 : 0;
    const reply = packet.encode({
      type: "response",
      id: query.id ?? 0,
      flags: packet.RECURSION_AVAILABLE | code,
      questions: query.questions ?? [],
      answers: addresses.filter(isWanted).map((data) => ({
        name,
        type: question.type as "A",
        ttl: 5,
        data,
      })),
    });
    socket.send(reply, from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(port, host, () => resolve()));
  return { at: `${host}#${socket.address().port}`, asked, close: () => socket.close() };
}
