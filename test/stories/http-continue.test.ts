import { expect, test } from "bun:test";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { registered } from "../support/cloud.ts";
import { atEnd, stories } from "../support/story.ts";
import { dial } from "../support/tcp.ts";

stories("an upload over HTTP", () => {
  test("waits for 100 Continue, gets it before the body, and then the answer", async () => {
    const server = createServer();
    server.on("checkContinue", (request, response) => {
      response.writeContinue();
      let length = 0;
      request.on("data", (bytes: Buffer) => {
        length += bytes.length;
      });
      request.on("end", () => response.end(`${length} bytes`));
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    atEnd(() => server.close());
    const { cloud, daemon } = await registered();
    await cloud.add("http://upload.demo", `127.0.0.1:${(server.address() as AddressInfo).port}`);
    await daemon.becomes("upload.demo", "listening");
    const client = await dial("upload.demo", 80);
    await client.write(
      "POST / HTTP/1.1\r\nHost: upload.demo\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
    );
    const go = "HTTP/1.1 100 Continue\r\n\r\n";
    expect(await client.read(go.length)).toBe(go);
    await client.write("hello");
    expect(await client.rest()).toEndWith("5 bytes");
    client.end();
    expect(await daemon.stop()).toBe(0);
  });
});
