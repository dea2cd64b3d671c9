// The small zod, as for all replies of the control socket.
import * as z from "zod/mini";
import { exchangeSchema } from "../inspect/report.ts";

export const exchangesSchema = z.object({
  /** `inspect.endpoints` of the configuration. */
  inspected: z.array(z.string()),
  /** Oldest first. */
  exchanges: z.array(exchangeSchema),
  /** For `after`: the next page begins behind it. */
  next: z.number(),
  /** Whether the next page has something already. */
  more: z.boolean(),
});
export type Exchanges = z.infer<typeof exchangesSchema>;

export const replaySchema = z.object({
  id: z.number(),
  status: z.number(),
  reason: z.string(),
  body_bytes: z.number(),
  took_ms: z.number(),
  /** Fields that were left out, since their values are not kept. */
  without: z.array(z.string()),
});
export type ReplayReport = z.infer<typeof replaySchema>;
