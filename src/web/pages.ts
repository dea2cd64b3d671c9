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
<title>ngrokd</title>
<h1>ngrokd</h1>
<p>The daemon as JSON: <a href="/api/v1/status">status</a>, <a href="/api/v1/list">list</a>,
<a href="/api/v1/connections">connections</a>, <a href="/api/v1/traffic">traffic</a>.
<a href="/api/openapi.json">openapi.json</a> describes all of it.</p>
</html>
`;

/** All files, by their paths. */
export const pages: ReadonlyMap<string, Page> = new Map([
  ["/", { type: "text/html; charset=utf-8", body: front, policy: ownFilesOnly }],
]);
