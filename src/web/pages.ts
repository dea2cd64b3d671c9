import { script, style } from "#dashboard";

/** A file of the dashboard, as a browser gets it. */
export interface Page {
  readonly type: string;
  readonly body: string | Uint8Array<ArrayBuffer>;
  /** The sources that its Content-Security-Policy allows. */
  readonly policy?: string;
}

/** For a page whose scripts and styles are files of ours. */
export const ownFilesOnly =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'";

export const pageResponse = ({ type, body }: Page): Response =>
  new Response(body, { headers: { "content-type": type } });

const front = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ngrokd</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/dashboard.css">
<script src="/dashboard.js" defer></script>
<body>
<noscript>This page needs JavaScript. The daemon as JSON: <a href="/api/v1/status">status</a>,
<a href="/api/v1/list">list</a>, <a href="/api/openapi.json">openapi.json</a>.</noscript>
</html>
`;

/** All files, by their paths. The page itself is in src/dashboard/. */
export const pages: ReadonlyMap<string, Page> = new Map([
  ["/", { type: "text/html; charset=utf-8", body: front, policy: ownFilesOnly }],
  ["/dashboard.js", { type: "text/javascript; charset=utf-8", body: script }],
  ["/dashboard.css", { type: "text/css; charset=utf-8", body: style }],
]);
