import type { ArgumentsCamelCase } from "yargs";
import { ExitCode } from "../errors.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { connectionOf, usage } from "./options.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";
import { policyOf, type RetentionArguments, withRetentionOptions } from "./retention-options.ts";

interface PruneArguments extends GlobalArguments, PlaceArguments, RetentionArguments {
  "dry-run": boolean;
  pin?: string | undefined;
  unpin?: string | undefined;
  reason?: string | undefined;
}

export const pruneCommand = defineCommand<PruneArguments>({
  usage: "prune",
  summary: "remove the backups that retention does not keep, in the folder and in S3",
  options: (yargs) =>
    withRetentionOptions(withPlaceOptions(yargs))
      .option("dry-run", {
        type: "boolean",
        default: false,
        describe: "say what would go and what stays, with the reasons, and remove nothing",
      })
      .option("pin", {
        type: "string",
        requiresArg: true,
        describe: "keep this backup from retention, by its id; removes nothing",
      })
      .option("unpin", {
        type: "string",
        requiresArg: true,
        describe: "give this backup back to retention; removes nothing",
      })
      .option("reason", {
        type: "string",
        requiresArg: true,
        describe: "why it is pinned, for who reads the list",
      }),
  examples: [
    ["pgtenant prune --dry-run", "what would go, by the environment's policy"],
    ["pgtenant prune -k 14", "keep 14 days"],
    ["pgtenant prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12", "grandfather, father, son"],
    [
      'pgtenant prune --pin backup_20260101_020000 --reason "before the migration"',
      "keep this one for ever",
    ],
  ],
  exitCodes: [ExitCode.locked, ExitCode.storage],
  leavesMetrics: true,
  async run(args, context) {
    if (args.pin !== undefined || args.unpin !== undefined) return await changePin(args, context);
    if (args.reason !== undefined) {
      throw usage("--reason is given without --pin", "Name the backup to pin with --pin ID.");
    }
    const { prunePlaces } = await import("../backup/prune-places.ts");
    const { retentionWarnings } = await import("../backup/prune.ts");
    const { openJournal } = await import("../journal/journal.ts");
    const { openStores } = await import("../storage/open-stores.ts");
    const { pruneText, prunedDocument } = await import("./render/prune.ts");
    const { errorDocument } = await import("./report-error.ts");
    const { config, output, signal, interruption } = context;
    const places = placesOf(args, config);
    const policy = policyOf(args, config);
    const warn = (text: string) => output.warn(text);
    interruption.meaning = "what was removed until then is gone; run it again for the rest";
    const stores = await openStores(places);
    try {
      const { database, results, failed } = await prunePlaces({
        connection: connectionOf(context, "prune"),
        stores,
        policy,
        now: new Date(),
        dryRun: args.dryRun,
        journal: openJournal(places.directory, { secrets: config.secrets, warn, signal }),
        signal,
        warn,
      });
      for (const result of results) output.text(pruneText(result, database));
      const refused = results.flatMap(retentionWarnings);
      for (const text of refused) output.warn(text);
      for (const { place, error } of failed) {
        output.error(`pgtenant: ${place} was not pruned: ${error.message}`);
        if (error.hint !== undefined) output.error(`hint: ${error.hint}`);
      }
      const whole = refused.length > 0 ? ExitCode.storage : ExitCode.done;
      const exitCode = failed[0]?.error.exitCode ?? whole;
      output.result({
        database,
        dryRun: args.dryRun,
        policy,
        places: results.map(prunedDocument),
        failed: failed.map(({ place, error }) => ({ place, error: errorDocument(error) })),
        exitCode,
      });
      return exitCode;
    } finally {
      await stores.close();
    }
  },
});

async function changePin(
  args: ArgumentsCamelCase<PruneArguments>,
  { config, output }: Context,
): Promise<ExitCode> {
  const { pin, unpin, reason } = args;
  const id = pin ?? unpin ?? "";
  if (pin !== undefined && unpin !== undefined) {
    throw usage("--pin and --unpin are both given", "Give one of them.");
  }
  if (reason !== undefined && (unpin !== undefined || reason === "")) {
    throw usage(
      reason === "" ? "--reason is empty" : "--reason is given with --unpin",
      "It says why a backup is pinned.",
    );
  }
  const other = Object.entries(policyFlags(args)).find(([, value]) => value !== undefined)?.[0];
  if (other !== undefined || args.dryRun) {
    throw usage(
      `--${pin === undefined ? "unpin" : "pin"} and --${other ?? "dry-run"} are both given`,
      "Pinning removes nothing; run prune once more for that.",
    );
  }
  const { pinBackup, unpinBackup } = await import("../backup/pin.ts");
  const { openJournal, withJournal } = await import("../journal/journal.ts");
  const { openStores } = await import("../storage/open-stores.ts");
  const warn = (text: string) => output.warn(text);
  const places = placesOf(args, config);
  const stores = await openStores(places);
  try {
    const said = reason ?? "no reason was given";
    const journal = openJournal(places.directory, { secrets: config.secrets, warn });
    const what = { subject: id, ...(pin === undefined ? {} : { details: { reason: said } }) };
    const change = await withJournal(
      journal,
      pin === undefined ? "unpin" : "pin",
      what,
      warn,
      () =>
        pin === undefined
          ? unpinBackup(stores.all, id)
          : pinBackup(stores.all, id, { reason: said, now: new Date() }),
    );
    const where = change.places.join(" and ");
    output.text(
      pin === undefined
        ? `${id} is not pinned any more in ${where}: retention decides about it`
        : `${id} is pinned in ${where}: retention leaves it alone`,
    );
    output.result({ ...change, pinned: pin !== undefined });
    return ExitCode.done;
  } finally {
    await stores.close();
  }
}

function policyFlags(args: ArgumentsCamelCase<PruneArguments>) {
  return {
    "keep-days": args.keepDays,
    "keep-last": args.keepLast,
    "keep-daily": args.keepDaily,
    "keep-weekly": args.keepWeekly,
    "keep-monthly": args.keepMonthly,
    "keep-yearly": args.keepYearly,
  };
}
