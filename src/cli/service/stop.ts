import { verbCommand } from "./verb.ts";

export default verbCommand(
  "stop",
  "Stop the service, and wait until its connections have ended or were cut",
  "The service has stopped",
);
