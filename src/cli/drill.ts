import type { ArgumentsCamelCase } from "yargs";
import { ExitCode } from "../errors.ts";
import type { DrillRequest } from "../service/drill/drill-request.ts";
import type { Store } from "../storage/store.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { openPlaces } from "./named-backup.ts";
import { connectionOf, schemaOptionsOf, usage } from "./options.ts";
import { type PlaceArguments, withPlaceOptions } from "./place-options.ts";
import { jobsOption, programsOf, tempDirOption, wholeNumber } from "./program-options.ts";
import { keepHeapSmall } from "./small-heap.ts";

interface DrillArguments extends GlobalArguments, PlaceArguments, KeyArguments {
  backup: string;
  embedded?: boolean | undefined;
  bundle?: string | undefined;
  "no-bundle": boolean;
  jobs?: string | undefined;
  "temp-dir"?: string | undefined;
}

type Arguments = ArgumentsCamelCase<DrillArguments>;

export const drillCommand = defineCommand<DrillArguments>({
  usage: "drill [backup]",
  summary: "restore the newest backup into a scratch database, check everything, and report",
  options: (yargs) =>
    withKeyOptions(withPlaceOptions(yargs))
      .positional("backup", {
        type: "string",
        default: "latest",
        describe: "a file, an s3:// URL, an id of the list, or latest",
      })
      .option("embedded", {
        type: "boolean",
        describe: "on a PostgreSQL of the drill's own, in a temporary folder",
        defaultDescription: "BACKUP_DRILL_EMBEDDED",
      })
      .option("bundle", {
        type: "string",
        requiresArg: true,
        describe: "bring back the tenant of this bundle",
        defaultDescription: "the newest below tenants/",
      })
      .option("no-bundle", {
        type: "boolean",
        default: false,
        describe: "leave tenants alone",
      })
      .option("jobs", jobsOption)
      .option("temp-dir", tempDirOption),
  examples: [
    ["pgtenant drill", "on the database's own server, beside it"],
    ["pgtenant drill --embedded", "needs no server, only PostgreSQL's programs"],
    [
      "pgtenant drill backup_20260101_020000 -i /etc/pgtenant/key.txt",
      "an older one, with its key",
    ],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
    ExitCode.locked,
    ExitCode.key,
    ExitCode.database,
    ExitCode.storage,
    ExitCode.different,
  ],
  repeatable: repeatableKeys,
  leavesMetrics: true,
  async run(args, context) {
    keepHeapSmall();
    if (args.bundle !== undefined && args.noBundle) {
      throw usage("--bundle and --no-bundle are both given", "Give one of them.");
    }
    const { openBackup } = await import("../backup/open-backup.ts");
    const { openJournal } = await import("../journal/journal.ts");
    const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
    const { checkTitles } = await import("../service/drill/check-titles.ts");
    const { drillFailureOf, runDrill } = await import("../service/drill/run-drill.ts");
    const { checkText, drillText } = await import("./render/drill.ts");
    const { config, output, signal, interruption, outcome } = context;
    outcome.job = "drill";
    const warn = (text: string) => output.warn(text);
    const keys = await keysOf(args, context);
    interruption.meaning = "the live database was not touched, and the scratch database is dropped";
    const progress = await context.progress("drilling", "bytes");
    const { places, stores, options } = await openPlaces(args, context);
    try {
      const { report, files } = await runDrill({
        database: databaseOfUrl(config.databaseUrl),
        connection: connectionOf(context, "drill"),
        schema: schemaOptionsOf(context),
        stores: stores.all,
        findBackup: () => openBackup(args.backup, options),
        findBundle: await bundleOf(args, context, stores.all, keys),
        keys,
        programs: programsOf(config),
        embedded: args.embedded ?? config.service.drillEmbedded,
        jobs: wholeNumber("jobs", args.jobs),
        tempFolder: args.tempDir ?? config.backup.tempDirectory,
        rtoSeconds: config.service.rtoHours * 3600,
        rpoSeconds: config.service.rpoHours * 3600,
        signal,
        progress,
        onStart: (check) => output.note(`${checkTitles[check]} …`),
        onCheck: (check) => {
          progress.stop();
          output.text(checkText(check));
        },
        warn,
        folder: places.directory,
        journal: openJournal(places.directory, { secrets: config.secrets, warn, signal }),
        secrets: config.secrets,
      });
      output.text(drillText(report, files));
      outcome.id = report.id;
      outcome.failure = drillFailureOf(report);
      if (report.problem !== null) {
        output.error(`pgtenant: the drill failed: ${report.problem}`);
        if (report.hint !== null) output.error(`hint: ${report.hint}`);
      }
      output.result({ ...report, files });
      return report.exitCode;
    } finally {
      await stores.close();
    }
  },
});

async function bundleOf(
  args: Arguments,
  { config, signal }: Context,
  stores: readonly Store[],
  keys: DrillRequest["keys"],
): Promise<DrillRequest["findBundle"]> {
  if (args.noBundle) return null;
  const { namedBundle, newestBundle } = await import("../service/drill/newest-bundle.ts");
  const { bundle } = args;
  return bundle === undefined
    ? () => newestBundle(stores, keys, signal)
    : () => namedBundle(bundle, keys, config.backup, signal);
}
