import type { ArgumentsCamelCase } from "yargs";
import type { RestoreMode, RestorePlan, RestoreStep } from "../backup/restore-types.ts";
import { ExitCode } from "../errors.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { confirm } from "./confirm.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { connectionOf, usage } from "./options.ts";
import { type PlaceArguments, withPlaceOptions } from "./place-options.ts";
import { jobsOption, programsOf, tempDirOption, wholeNumber } from "./program-options.ts";
import { counted } from "./render/units.ts";
import { keepHeapSmall } from "./small-heap.ts";

interface RestoreArguments extends GlobalArguments, PlaceArguments, KeyArguments {
  backup: string;
  force: boolean;
  into?: string | undefined;
  "in-place": boolean;
  disconnect: boolean;
  "dry-run": boolean;
  "files-to"?: string | undefined;
  "only-files": boolean;
  jobs?: string | undefined;
  "temp-dir"?: string | undefined;
}

type Arguments = ArgumentsCamelCase<RestoreArguments>;

export const restoreCommand = defineCommand<RestoreArguments>({
  usage: "restore <backup>",
  summary: "restore the whole database, beside the one that is there, then in its place",
  options: (yargs) =>
    withKeyOptions(withPlaceOptions(yargs, []))
      .alias("d", "database-url")
      .positional("backup", {
        type: "string",
        demandOption: true,
        describe: "a file, an s3:// URL, an id of the list, or latest",
      })
      .option("force", {
        alias: ["f", "yes"],
        type: "boolean",
        default: false,
        describe: "do not ask for the database's name",
      })
      .option("into", {
        type: "string",
        requiresArg: true,
        describe: "make a new database of this name, and touch no other",
      })
      .option("in-place", {
        type: "boolean",
        default: false,
        describe: "replace the objects of the database that is there, in one transaction",
      })
      .option("disconnect", {
        type: "boolean",
        default: false,
        describe: "end the connections of clients",
      })
      .option("dry-run", {
        type: "boolean",
        default: false,
        describe: "check the backup, show the plan, and change nothing",
      })
      .option("files-to", {
        type: "string",
        requiresArg: true,
        describe: "put the set's files below this folder too, over none that exists",
      })
      .option("only-files", {
        type: "boolean",
        default: false,
        describe: "with --files-to: leave the database alone",
      })
      .option("jobs", jobsOption)
      .option("temp-dir", tempDirOption),
  examples: [
    ["pgtenant restore latest", "asks for the database's name, keeps the old one beside it"],
    ["pgtenant restore latest --into nkudo_check", "to look at, without touching nkudo"],
    ["pgtenant restore -f -k KEY /backups/backup_20240101_120000.sql.gz.enc", "asks nothing"],
    ["pgtenant restore latest --files-to /etc/restored --only-files", "the PKI and configuration"],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
    ExitCode.locked,
    ExitCode.key,
    ExitCode.database,
    ExitCode.storage,
  ],
  repeatable: repeatableKeys,
  leavesMetrics: true,
  async run(args, context) {
    keepHeapSmall();
    const { runRestore } = await import("../backup/run-restore.ts");
    const { openJournal } = await import("../journal/journal.ts");
    const { restoreDocument, restoreText } = await import("./render/restore.ts");
    const { config, output, signal, interruption } = context;
    const started = performance.now();
    const mode = modeOf(args);
    const keys = await keysOf(args, context);
    const warn = (text: string) => output.warn(text);
    const { openNamedBackup } = await import("./named-backup.ts");
    const { backup, places, stores } = await openNamedBackup(args.backup, args, context);
    interruption.meaning = "the database is what it was";
    const progress = await context.progress("restoring", "bytes");
    let plan: RestorePlan | undefined;
    try {
      const result = await runRestore({
        backup,
        connection: connectionOf(context, "restore"),
        keys,
        programs: programsOf(config),
        mode,
        into: args.into,
        disconnect: args.disconnect,
        jobs: wholeNumber("jobs", args.jobs),
        tempFolder: args.tempDir ?? config.backup.tempDirectory,
        signal,
        progress,
        onPlan: async (made) => {
          plan = made;
          progress.stop();
          await decide(args, context, made);
        },
        onFiles: async (files) => {
          if (!args.dryRun) return;
          output.text(`${counted(files, "file")} would be put below ${args.filesTo ?? ""}`);
          throw new DryRun();
        },
        onStep: (step, text) => {
          output.note(`${text} …`);
          interruption.meaning = meaningOf(step, mode);
        },
        filesTo: args.filesTo,
        onlyFiles: args.onlyFiles,
        journal: args.dryRun
          ? undefined
          : openJournal(places.directory, { secrets: config.secrets, warn, signal }),
        warn,
      });
      progress.stop();
      const seconds = (performance.now() - started) / 1000;
      output.text(restoreText(result, seconds));
      output.result({ ...restoreDocument(result), seconds });
      return ExitCode.done;
    } catch (error) {
      if (!(error instanceof DryRun)) throw error;
      output.text("dry run, nothing was changed");
      output.result({ dryRun: true, plan: plan ?? null });
      return ExitCode.done;
    } finally {
      await stores.close();
    }
  },
});

/** What it means that a restore is ended in a step. */
function meaningOf(step: RestoreStep, mode: RestoreMode): string {
  if (step === "files") return "the database is restored, its files are not all put back";
  if (step === "count" && mode === "in-place") {
    return "the database is restored, but its rows were not counted to the end";
  }
  if (step === "swap") {
    return "the database is what it was, or is the restored one as a whole; pgtenant history and psql -l tell";
  }
  return "the database is what it was";
}

/** Ends a restore behind its plan. */
class DryRun extends Error {}

function modeOf(args: Arguments): RestoreMode {
  if (args.into !== undefined && args.inPlace) {
    throw usage("--into and --in-place are both given", "Give one of them.");
  }
  if (args.into === "") throw usage("--into names nothing", "Give the name of a new database.");
  if (args.onlyFiles && args.filesTo === undefined) {
    throw usage("--only-files is given without --files-to", "Say where the files go.");
  }
  return args.into !== undefined ? "into" : args.inPlace ? "in-place" : "swap";
}

/** Shows the plan, and asks where something that is there would be replaced. */
async function decide(args: Arguments, context: Context, plan: RestorePlan): Promise<void> {
  const { restorePlanText } = await import("./render/restore.ts");
  const { output, signal } = context;
  for (const warning of plan.warnings) output.warn(warning);
  output.text(restorePlanText(plan));
  if (args.dryRun) throw new DryRun();
  if (!plan.targetExists || args.force) return;
  await confirm({
    question: `type the name of the database, ${plan.target}, to go on`,
    answer: plan.target,
    hint: "Add -f to go on without being asked, or --into NAME to restore into a new database.",
    signal,
  });
}
