// The small zod, as for all replies of the control socket.
import * as z from "zod/mini";

export const findingSchema = z.object({
  check: z.string(),
  /** The title of the check. */
  title: z.string(),
  level: z.enum(["ok", "warning", "failure"]),
  text: z.string(),
  /** What to do; may be empty. */
  fix: z.string(),
  /** `host:port` of the endpoint whose way this is a step of; empty for all. */
  subject: z.string(),
});
export type ExaminedFinding = z.infer<typeof findingSchema>;

/** In the order of repair. */
export const findingsSchema = z.object({ findings: z.array(findingSchema) });
export type Findings = z.infer<typeof findingsSchema>;
