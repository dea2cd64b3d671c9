import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { type Cloud, registered } from "../support/cloud.ts";
import { type Daemon, run } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { upstream } from "../support/tcp.ts";

const upload = "/run/upload";
const tooLarge =
  "HTTP/1.1 413 Payload Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large";

let cloud: Cloud;
let daemon: Daemon;

stories("a reply before the end of an upload", () => {
  beforeAll(async () => {
    writeFileSync(upload, Buffer.alloc(20 * 1024 * 1024, "upload "));
    ({ cloud, daemon } = await registered());
  });

  test("of a service that closes at once reaches the client each time", async () => {
    const service = await upstream((socket) =>
      socket.once("data", () => socket.write(tooLarge, () => socket.destroy())),
    );
    await cloud.add("http://upload.demo", service.address);
    await daemon.refresh();
    // Without the daemon some of them are lost, too.
    const counts: Record<string, number> = {};
    for (let n = 0; n < 25; n++) {
      const words = ["curl", "-s", "--max-time", "60", "-H", "Expect:", "-w", "%{http_code}"];
      const { out } = await run([...words, "-T", upload, "http://upload.demo/"]);
      counts[out] = (counts[out] ?? 0) + 1;
    }
    expect(counts).toEqual({ "too large413": 25 });
    await until(
      "the connections are over",
      async () => (await daemon.status()).connections.active === 0,
    );
  });
});
