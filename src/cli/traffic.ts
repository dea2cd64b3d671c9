import { summaries } from "../desk/summaries.ts";
import { trafficText } from "../terminal/history-text.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { wholeFlag } from "./flags.ts";

export default command({
  name: "traffic",
  description: summaries.traffic,
  args: {
    host: {
      type: "positional",
      required: false,
      valueHint: "host",
      description: "Only this endpoint: its host name, or host:port",
    },
    seconds: {
      type: "string",
      valueHint: "n",
      default: "900",
      description: "How many seconds to go back",
    },
    step: {
      type: "string",
      valueHint: "n",
      default: "60",
      description: "How many seconds each line covers",
    },
    each: { type: "boolean", description: "With --json: also each endpoint by itself" },
  },
  examples: ["ngrokd traffic", "ngrokd traffic --seconds 60 --step 5", "ngrokd traffic --json"],
  async run({ host, seconds, step, each, ...args }, io) {
    const whole = (text: string, flag: string): number =>
      wholeFlag(text, flag, [1, 900], ["traffic"]);
    const input = { host, seconds: whole(seconds, "seconds"), step: whole(step, "step"), each };
    const reply = await daemonAt(args, io)("traffic", input);
    io.say.result(reply, () => trafficText(reply, io.say.paint));
    return 0;
  },
});
