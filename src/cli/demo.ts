import { ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";

export const demoCommand = defineCommand({
  usage: "demo",
  summary: "to come",
  options: (yargs) => yargs,
  examples: [],
  exitCodes: [],
  run: async () => ExitCode.done,
});
