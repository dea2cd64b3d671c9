/**
 * The only description of the configuration file: names, defaults, allowed
 * values and meanings, with a file for each group. It makes the template of
 * `config init`, docs/configuration.md and the error messages. The keys are
 * those of the Go program and a few new ones. `Config` keeps their spelling, so
 * that file, code and messages use the same names.
 */
import { access } from "./access-group.ts";
import { api, ingressEndpoint } from "./api-group.ts";
import { dns } from "./dns-group.ts";
import { bound_endpoints } from "./endpoints-group.ts";
import { forward } from "./forward-group.ts";
import { identity } from "./identity-group.ts";
import { inspect } from "./inspect-group.ts";
import { names } from "./names-group.ts";
import { net } from "./net-group.ts";
import { server } from "./server-group.ts";

/** All settings of one account and of the daemon. */
export const ownShape = {
  api,
  ingressEndpoint,
  server,
  bound_endpoints,
  forward,
  net,
  names,
  dns,
  access,
  identity,
  inspect,
};
