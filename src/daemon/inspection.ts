import type { Inspection } from "../desk/exchanges.ts";
import { type Doorway, isWide } from "../exposure/exposure.ts";
import { replay, replayable } from "../inspect/replay.ts";
import { NgrokdError } from "../model/error.ts";
import type { Address } from "../net/types.ts";
import type { Parts } from "./parts.ts";

/** How long a replayed request may take, in milliseconds. */
const withinMs = 60_000;

/** The HTTP exchanges, for the desk. */
export function inspectionOf({ options, settings, inspector, relay }: Parts): Inspection {
  return {
    inspected: () => settings.current.config.inspect.endpoints,
    page: inspector.page,
    async replay(id) {
      const kept = inspector.get(id);
      const request = replayable(kept, id);
      const endpoint = kept?.exchange.endpoint ?? "";
      const address = doorOf(relay.present.values(), endpoint);
      if (address === undefined)
        throw new NgrokdError(
          "refused",
          `Cannot replay the request ${id}: "${endpoint}" is not served now`,
          {
            hint: "`ngrokd list` shows why",
          },
        );
      return await replay(options.net, address, request, withinMs);
    },
  };
}

/** Pure: where this machine reaches an endpoint, by its `host:port`. */
function doorOf(doorways: Iterable<Doorway>, endpoint: string): Address | undefined {
  for (const { door, routes } of doorways) {
    const route = routes.find(({ target }) => target.binding.key === endpoint);
    if (route === undefined) continue;
    const { ip, port } = door.at;
    const at = route.match.at ?? ip;
    const loopback = at.includes(":") ? "::1" : "127.0.0.1";
    return { host: isWide(at) ? loopback : at, port };
  }
  return undefined;
}
