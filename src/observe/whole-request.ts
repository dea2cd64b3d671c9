/**
 * The request with a whole URL. Without a Host header, as in HTTP/1.0, the
 * runtime passes only the path, and no router can match it.
 */
export function wholeRequest(request: Request): Request {
  const { url } = request;
  if (URL.canParse(url)) return request;
  return new Request(`http://localhost${url.startsWith("/") ? url : "/"}`, request);
}
