import { describe, expect, test } from "bun:test";
import { judgeEarlyData, tryEarlyData } from "../../src/doctor/early-data.ts";
import type { Conn } from "../../src/net/types.ts";
import { bytes, net } from "../support/conns.ts";
import { accepted, fakeIngress, refused } from "../support/fake-ingress.ts";

const target = { host: "hello.demo", port: 80 };

/** An HTTP service that answers each request head. */
async function answerHead(conn: Conn, before: Uint8Array): Promise<void> {
  let text = Buffer.from(before).toString();
  while (!text.includes("\r\n\r\n")) {
    const chunk = await conn.read();
    if (chunk === null) return conn.close();
    text += Buffer.from(chunk).toString();
  }
  await conn.write(bytes("HTTP/1.1 204 No Content\r\n\r\n"));
  conn.close();
}

describe("early data is", () => {
  test("right for an ingress that hands the early bytes on", async () => {
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      await conn.write(accepted());
      await answerHead(conn, behind);
    });
    const finding = judgeEarlyData(await tryEarlyData(net, ingress.settings, target));
    expect(finding).toMatchObject({ check: "early-data", level: "ok", about: "hello.demo:80" });
    expect(finding.text).toContain("5 of 5 early requests were answered");
    expect(ingress.requests).toHaveLength(6);
  });

  test("wrong for an ingress that loses them", async () => {
    await using ingress = await fakeIngress(async (conn, _request, behind) => {
      await conn.write(accepted());
      // A service that never gets a question leaves.
      if (behind.length > 0) conn.close();
      else await answerHead(conn, behind);
    });
    const finding = judgeEarlyData(await tryEarlyData(net, ingress.settings, target));
    expect(finding).toMatchObject({
      level: "failure",
      text: "hello.demo:80: the ingress did not hand the early bytes on: no HTTP reply: the connection ended without a reply",
      fix: "leave `forward.early_data` off",
    });
  });

  test.each([
    ["refuses", refused("ERR_NGROK_1", "no such endpoint"), "ngrok refuses it with"],
    ["speaks no HTTP", Buffer.concat([accepted(), bytes("220 ready\r\n")]), 'it sent "220 ready"'],
  ])("not tried with an endpoint that %s", async (_does, reply, reason) => {
    await using ingress = await fakeIngress(async (conn) => void (await conn.write(reply)));
    const finding = judgeEarlyData(await tryEarlyData(net, ingress.settings, target));
    expect(finding.level).toBe("failure");
    expect(finding.text).toStartWith("not tried, since hello.demo:80 does not answer");
    expect(finding.text).toContain(reason);
    expect(ingress.requests).toHaveLength(1);
  });
});
