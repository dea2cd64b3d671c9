import { verbCommand } from "./verb.ts";

export default verbCommand(
  "start",
  "Start the service, and wait until it is up",
  "The service is up",
);
