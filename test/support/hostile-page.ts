/**
 * What a page can try against another origin, as the text of a function of that
 * origin. It runs in the browser, and resolves to what each try got.
 */
export const attack = `async (target) => {
  const send = (path, options) => fetch(target + path, { credentials: "include", ...options });
  const outcome = (element, src) =>
    new Promise((resolve) => {
      element.onload = () => resolve("loaded");
      element.onerror = () => resolve("error");
      element.src = src;
      document.body.append(element);
    });
  const opens = (source) =>
    new Promise((resolve) => {
      source.onopen = () => resolve("open");
      source.onerror = () => resolve("error");
    });
  const read = (frame) => {
    try {
      return frame.contentWindow.document.body.innerText === undefined ? "nothing" : "read";
    } catch {
      return "nothing";
    }
  };
  const nameOf = (error) => error.name;
  const json = { "content-type": "application/json" };
  const post = { method: "POST", body: "{}" };
  const frame = document.createElement("iframe");
  await outcome(frame, target + "/");
  return {
    read: await send("/api/v1/list", {}).then((reply) => reply.text(), nameOf),
    image: await outcome(document.createElement("img"), target + "/api/v1/list"),
    change: await send("/api/v1/refresh", { ...post, headers: json }).then((reply) => reply.text(), nameOf),
    form: await send("/api/v1/refresh", { ...post, mode: "no-cors" }).then(
      ({ type, status }) => type + " " + status,
      nameOf,
    ),
    events: await opens(new EventSource(target + "/api/v1/events", { withCredentials: true })),
    socket: await opens(new WebSocket(target.replace("http", "ws") + "/api/v1/events")),
    script: await outcome(document.createElement("script"), target + "/dashboard.js"),
    frame: read(frame),
  };
}`;
