import { verbCommand } from "./verb.ts";

export default verbCommand(
  "restart",
  "Stop the service and start it again",
  "The service is up again",
);
