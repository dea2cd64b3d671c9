import { expect, test } from "bun:test";
import { registered } from "../support/cloud.ts";
import { ngrokd, run } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

stories("lists of ngrok's API", () => {
  test("whose pages lead in a circle degrade the daemon with a reason, and retire none", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const { operator_id } = await daemon.status();
    await cloud.break(
      `foreign-page=${cloud.apiUrl}/kubernetes_operators/${operator_id}/bound_endpoints`,
    );
    const { code, err } = await ngrokd("refresh");
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("the pages lead in a circle"),
    });
    expect((await daemon.status()).phase).toBe("degraded");
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
    await cloud.mend();
    await until("it serves again", async () => (await daemon.status()).phase === "serving");
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
    expect(await daemon.stop()).toBe(0);
  });
});
