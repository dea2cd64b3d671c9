import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { AxeResults } from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { ngrokd } from "./ngrokd.ts";
import { atEnd } from "./story.ts";

export interface Look {
  readonly width?: number;
  readonly height?: number;
  readonly colorScheme?: "light" | "dark";
}

/** A tab, with what its page has complained about. */
export interface Tab {
  readonly page: Page;
  readonly complaints: readonly string[];
}

let browser: Browser | undefined;

/** In the browser that has `opener`, or in one without any cookie. */
export interface Where extends Look {
  readonly opener?: Tab;
}

/** Opens the dashboard by a link of its own, in Debian's Chromium. */
export async function dashboard(where: Where = {}): Promise<Tab> {
  const { width = 1440, height = 1000, colorScheme = "light", opener } = where;
  browser ??= await started();
  const context =
    opener?.page.context() ??
    (await browser.newContext({ viewport: { width, height }, colorScheme, timezoneId: "UTC" }));
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    // A lost connection is no fault of the page.
    if (message.type() === "error" && !message.text().includes("net::ERR_"))
      complaints.push(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.hostname !== "127.0.0.1") complaints.push(url.href);
  });
  const { url } = (await ngrokd("dashboard --json")).json;
  await page.goto(url);
  await page.waitForSelector(".link.live");
  return { page, complaints };
}

async function started(): Promise<Browser> {
  const launched = await openBrowser();
  atEnd(() => {
    browser = undefined;
  });
  return launched;
}

/** Debian's Chromium without a window, until the chapter's end. */
export async function openBrowser(args: readonly string[] = []): Promise<Browser> {
  const launched = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", ...args],
  });
  atEnd(() => launched.close());
  return launched;
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * The offences of the page, as it is now, against the rules of WCAG 2.2 AA and
 * good practice. Each has its rule, and the elements.
 */
export async function inaccessible({ page }: Tab): Promise<string[]> {
  await page.evaluate(axe);
  const results = (await page.evaluate(
    "axe.run({ rules: { 'target-size': { enabled: true } } })",
  )) as AxeResults;
  return results.violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`),
  );
}

/** Writes a picture for the docs, if SCREENSHOTS is set. */
export async function picture({ page }: Tab, name: string): Promise<void> {
  if (!process.env.SCREENSHOTS) return;
  const folder = join(import.meta.dir, "..", "..", "docs", "images");
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: join(folder, `${name}.png`) });
}
