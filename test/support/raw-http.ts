import { connect } from "node:net";

/** What a server says, until it closes or falls silent. */
export interface RawReply {
  /** 0 if the connection ended without a reply. */
  readonly status: number;
  /** In lower case, the last of each. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** How many replies there were. */
  readonly replies: number;
}

/**
 * Sends a request byte by byte as it is written here, which no HTTP client
 * would. Waits until nothing has come for `quietMs` after the first reply.
 */
export async function rawHttp(
  at: { host: string; port: number } | { path: string },
  request: string,
  { quietMs = 500, withinMs = 30_000 } = {},
): Promise<RawReply> {
  const { promise, resolve } = Promise.withResolvers<string>();
  let text = "";
  const socket = connect(at);
  const late = setTimeout(() => socket.destroy(), withinMs);
  let quiet: ReturnType<typeof setTimeout> | undefined;
  socket.on("data", (bytes) => {
    text += String(bytes);
    clearTimeout(quiet);
    quiet = setTimeout(() => socket.destroy(), quietMs);
  });
  socket.on("error", () => undefined);
  socket.on("close", () => resolve(text));
  socket.write(request);
  const all = await promise;
  clearTimeout(late);
  clearTimeout(quiet);
  const [head = "", ...rest] = all.split("\r\n\r\n");
  const [line = "", ...fields] = head.split("\r\n");
  const headers = Object.fromEntries(
    fields.map((field) => {
      const [name = "", ...value] = field.split(":");
      return [name.toLowerCase(), value.join(":").trim()];
    }),
  );
  return {
    status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(line)?.[1] ?? 0),
    headers,
    body: rest.join("\r\n\r\n"),
    replies: [...all.matchAll(/HTTP\/1\.[01] \d{3} /g)].length,
  };
}
