/**
 * The REST API of ngrok, as far as the daemon uses it (docs/protocol.md,
 * "ngrok's API").
 */
import { Hono } from "hono";
import { noNumber, noResource, noRoute, refusal } from "./answers.ts";
import { misbehaving } from "./api-faults.ts";
import { endpointView, listPage } from "./api-views.ts";
import { authorized } from "./authorization.ts";
import { addOperatorRoutes, type OperatorOptions } from "./operator-routes.ts";

export interface ApiOptions extends OperatorOptions {
  /** Ends delays that a fault has caused. */
  readonly stop: AbortSignal;
}

/** The API over the content of `store`. */
export function ngrokApi(options: ApiOptions): Hono {
  const { store, faults, log, stop } = options;
  const app = new Hono();
  app.use(misbehaving(faults, stop), authorized(store.keys));
  addOperatorRoutes(app, options);
  app.get("/endpoints", (c) => {
    const ids = c.req.queries("id");
    const urls = c.req.queries("url");
    const found = [...store.endpoints.values()].filter(
      ({ id, url, lingers }) =>
        !lingers && (ids?.includes(id) ?? true) && (urls?.includes(url) ?? true),
    );
    return listPage(c, options, "endpoints", found, (one) => endpointView(c, one));
  });
  app.get("/endpoints/:id", (c) => {
    const endpoint = store.endpoints.get(c.req.param("id"));
    const isThere = endpoint !== undefined && !endpoint.lingers;
    return isThere ? c.json(endpointView(c, endpoint)) : noResource();
  });
  app.notFound((c) => noRoute(c.req.path));
  app.onError((error) => {
    if (!stop.aborted) log.error(`The local cloud's API failed: ${error.message}`);
    return refusal(500, noNumber, error.message);
  });
  return app;
}
