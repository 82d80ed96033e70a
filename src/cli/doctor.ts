import { ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";

export const doctorCommand = defineCommand({
  usage: "doctor",
  summary: "to come",
  options: (yargs) => yargs,
  examples: [],
  exitCodes: [],
  run: async () => ExitCode.done,
});
