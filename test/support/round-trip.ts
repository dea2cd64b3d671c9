import { dial, type Peer } from "./tcp.ts";

/** A round trip on an open connection to an echo. */
export async function echoes(peer: Peer, word: string): Promise<boolean> {
  await peer.write(word);
  return (await peer.read(word.length)) === word;
}

/** A connection to an echo that has proved to carry bytes. */
export async function talking(name: string, port: number): Promise<Peer> {
  const peer = await dial(name, port);
  if (!(await echoes(peer, "hello"))) throw new Error(`${name}:${port} sends back something else`);
  return peer;
}

/** Whether a new connection to an echo works. */
export async function carries(name: string, port: number): Promise<boolean> {
  const peer = await talking(name, port).catch(() => undefined);
  peer?.reset();
  return peer !== undefined;
}
