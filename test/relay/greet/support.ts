import { spawnSync } from "node:child_process";
import { createServer } from "node:net";
import { connect } from "node:tls";

/** The first bytes of this machine's TLS client for a name. */
export function helloFor(servername: string): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      const chunks: Buffer[] = [];
      socket.on("error", () => undefined);
      socket.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        const all = Buffer.concat(chunks);
        if (all.length >= 5 && all.length >= 5 + all.readUInt16BE(3)) {
          socket.destroy();
          server.close();
          resolve(new Uint8Array(all));
        }
      });
    });
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      if (address === null || typeof address === "string") return reject(new Error("no port"));
      const options = { port: address.port, host: "127.0.0.1", rejectUnauthorized: false };
      connect(servername === "" ? options : { ...options, servername }).on(
        "error",
        () => undefined,
      );
    });
  });
}

/** The same handshake message in records of `size` bytes. */
export function inRecords(hello: Uint8Array, size: number): Uint8Array {
  const message = hello.subarray(5);
  const records: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(new Uint8Array([22, 3, 1, part.length >> 8, part.length & 255]), part);
  }
  return new Uint8Array(Buffer.concat(records));
}

export const hasCommand = (name: string): boolean =>
  spawnSync("sh", ["-c", `command -v ${name}`]).status === 0;

/** A frame of HTTP/2. */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array) {
  const { length } = payload;
  const head = [length >> 16, (length >> 8) & 255, length & 255, type, flags, 0, 0, 0, stream];
  return Buffer.concat([Buffer.from(head), payload]);
}
