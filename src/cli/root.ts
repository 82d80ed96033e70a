import type { ArgumentsCamelCase, Argv } from "yargs";
import makeYargs from "yargs";
import { resolveConfig } from "../config/config.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { ProgressListener } from "../progress.ts";
import { toolVersion } from "../version.ts";
import { backupCommand } from "./backup.ts";
import {
  type Command,
  type Context,
  type GlobalArguments,
  hideDashes,
  type Surroundings,
} from "./command.ts";
import { convertCommand } from "./convert.ts";
import { demoCommand } from "./demo.ts";
import { diffCommand } from "./diff.ts";
import { doctorCommand } from "./doctor.ts";
import { drillCommand } from "./drill.ts";
import { exitCodesText } from "./exit-codes.ts";
import { exportCommand } from "./export.ts";
import { givingNotices } from "./give-notices.ts";
import { historyCommand } from "./history.ts";
import { importCommand } from "./import.ts";
import { inspectCommand } from "./inspect.ts";
import { keygenCommand } from "./keygen.ts";
import { listCommand } from "./list.ts";
import { globalOptions, usage } from "./options.ts";
import { pruneCommand } from "./prune.ts";
import { restoreCommand } from "./restore.ts";
import { scheduleCommand } from "./schedule.ts";
import { statusCommand } from "./status.ts";
import { tenantsCommand } from "./tenants.ts";
import { undoCommand } from "./undo.ts";
import { usageMessage } from "./usage-messages.ts";
import { verifyCommand } from "./verify.ts";

const commands: readonly Command[] = [
  tenantsCommand,
  exportCommand,
  inspectCommand,
  verifyCommand,
  diffCommand,
  importCommand,
  undoCommand,
  convertCommand,
  backupCommand,
  restoreCommand,
  listCommand,
  pruneCommand,
  historyCommand,
  drillCommand,
  scheduleCommand,
  statusCommand,
  doctorCommand,
  keygenCommand,
  demoCommand,
];

/** Reads the command line and runs the command it asks for. */
export async function runCommandLine(
  argv: readonly string[],
  surroundings: Surroundings,
): Promise<ExitCode> {
  let chosen:
    | {
        readonly args: ArgumentsCamelCase<GlobalArguments>;
        readonly command: Command;
        readonly run: (context: Context) => Promise<ExitCode>;
      }
    | undefined;
  const parser = commands.reduce<Argv<GlobalArguments>>(
    (yargs, command) =>
      command.addTo(yargs, decoration(command), (args, run) => {
        chosen = { args, command, run };
      }),
    rootParser(),
  );
  await parser.parseAsync(hideDashes(argv));
  // Help or the version was asked for, and is printed.
  if (chosen === undefined) return ExitCode.done;
  const { args, command, run } = chosen;
  refuseRepeated(args, command.repeatable);
  return await withContext(args, surroundings, run);
}

function rootParser(): Argv<GlobalArguments> {
  const parser = makeYargs()
    .scriptName("pgtenant")
    .usage(
      "pgtenant <command>\n\nDisaster recovery for a multi-tenant PostgreSQL database: one tenant, or all of it.",
    )
    .locale("en")
    .parserConfiguration({ "boolean-negation": false, "parse-numbers": false })
    .exitProcess(false)
    .strict()
    .recommendCommands()
    .demandCommand(1, "no command is given")
    .version(toolVersion)
    .help()
    .alias("help", "h")
    .wrap(100)
    .fail((message: string, error: Error | undefined) => {
      if (error instanceof AppError) throw error;
      throw usage(
        usageMessage(message ?? error?.message),
        "pgtenant --help lists the commands; pgtenant <command> --help their options.",
      );
    })
    .epilogue(
      "The database is named by DATABASE_URL. Try it without one: pgtenant demo\n" +
        "Exit codes: 0 done · 1 internal error · 2 usage · 3 invalid input · 4 refused · 5 locked · " +
        "6 key · 7 database · 8 storage · 9 different · 130 interrupted",
    );
  return globalOptions(parser);
}

function decoration(command: Command) {
  return (yargs: Argv<GlobalArguments>) =>
    command.examples
      .reduce((inner, [example, what]) => inner.example(example, what), yargs)
      .usage(`pgtenant ${command.usage}\n\n${command.summary}`)
      .epilogue(exitCodesText(command.exitCodes));
}

function refuseRepeated(args: Readonly<Record<string, unknown>>, repeatable: readonly string[]) {
  for (const [name, value] of Object.entries(args)) {
    if (name === "_" || !Array.isArray(value) || repeatable.includes(name)) continue;
    throw usage(
      `${name.length === 1 ? "-" : "--"}${name} is given ${value.length} times`,
      "Give it once.",
    );
  }
}

async function withContext(
  args: ArgumentsCamelCase<GlobalArguments>,
  surroundings: Surroundings,
  run: (context: Context) => Promise<ExitCode>,
): Promise<ExitCode> {
  const { output } = surroundings;
  const config = resolveConfig({
    databaseUrl: args.databaseUrl,
    profile: args.profile,
    acceptUnclassified: args.acceptUnclassified,
  });
  output.hide(config.secrets);
  for (const warning of config.warnings) output.warn(warning);
  const listeners: ProgressListener[] = [];
  const context: Context = {
    ...surroundings,
    config,
    outcome: {},
    progress: async (doing, unit) => {
      const { openProgress } = await import("./progress.ts");
      const listener = await openProgress(output, doing, unit);
      listeners.push(listener);
      return listener;
    },
  };
  try {
    return await givingNotices(context, () => run(context));
  } finally {
    for (const listener of listeners) listener.stop();
  }
}
