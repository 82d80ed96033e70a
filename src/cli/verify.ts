import { ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";

export const verifyCommand = defineCommand({
  usage: "verify <file>",
  summary: "to come",
  options: (yargs) => yargs,
  examples: [],
  exitCodes: [],
  run: async () => ExitCode.done,
});
