import { ExitCode } from "../errors.ts";
import type { ImportPlan } from "../tenant/import-types.ts";
import type { UndoOptions, UndoResult } from "../tenant/undo.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { whileApplying, withPlan } from "./import.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { connectionOf, maxRowSizeOption, parseRowSize, schemaOptionsOf } from "./options.ts";
import { receiptOption, receiptOptionsOf } from "./receipt-options.ts";
import { recorded } from "./recorded.ts";
import { keepHeapSmaller } from "./small-heap.ts";

interface UndoArguments extends GlobalArguments, KeyArguments {
  file: string;
  "dry-run": boolean;
  yes: boolean;
  "disable-triggers": boolean;
  "keep-in-flight": boolean;
  "other-database": boolean;
  audit: boolean;
  "max-row-size": string;
  receipt?: string | undefined;
}

export const undoCommand = defineCommand<UndoArguments>({
  usage: "undo <file>",
  summary: "take an import back, by its receipt",
  options: (yargs) =>
    withKeyOptions(
      yargs
        .positional("file", {
          type: "string",
          demandOption: true,
          describe: "the receipt that the import has named, or - for the standard input",
        })
        .option("dry-run", {
          type: "boolean",
          default: false,
          describe: "show the plan and change nothing",
        })
        .option("yes", {
          type: "boolean",
          default: false,
          describe: "confirm that rows are set back or deleted",
        })
        .option("disable-triggers", {
          type: "boolean",
          default: false,
          describe: "keep user triggers from altering the rows",
        })
        .option("keep-in-flight", {
          type: "boolean",
          default: false,
          describe: "rows that come back keep the state of work that was in flight",
        })
        .option("audit", {
          type: "boolean",
          default: false,
          describe: "append an event about the undo to the audit log",
        })
        .option("other-database", {
          type: "boolean",
          default: false,
          describe: "the receipt is of the database that this one was restored or copied from",
        }),
    )
      .option("max-row-size", maxRowSizeOption)
      .option("receipt", receiptOption),
  examples: [
    ["pgtenant undo receipt.jsonl.zst --dry-run", "show the plan"],
    ["pgtenant undo receipt.jsonl.zst --yes", "take the import back"],
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
  async run(args, context) {
    keepHeapSmaller();
    const { openInput } = await import("../storage/input.ts");
    const { withSession } = await import("../postgres/session.ts");
    const { openSchema } = await import("../tenant/open-schema.ts");
    const { undoImport } = await import("../tenant/undo.ts");
    const { planText } = await import("./render/plan.ts");
    const { nextAfterUndoPlan, undoText } = await import("./render/undo.ts");
    const { output, interruption } = context;
    const { dryRun } = args;
    const receipt = receiptOptionsOf(args, context);
    const maxRowBytes = parseRowSize(args.maxRowSize);
    const progress = await context.progress("undoing");
    const keys = await keysOf(args, context);
    const input = await openInput(args.file, context.signal, context.config.backup);
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    let plan: ImportPlan | undefined;
    const options: UndoOptions = {
      name: input.name,
      dryRun,
      confirmed: args.yes,
      disableTriggers: args.disableTriggers,
      keepInFlight: args.keepInFlight,
      audit: args.audit,
      otherDatabase: args.otherDatabase,
      maxRowBytes,
      keys,
      receipt,
      progress,
      onPlan: (made) => {
        plan = made;
        progress.stop();
        for (const warning of made.warnings) output.warn(warning);
        output.text(planText(made));
        if (!dryRun) interruption.meaning = whileApplying;
      },
    };
    const work = () =>
      withSession(connectionOf(context, "undo"), async (session) => {
        const schema = await openSchema(session, schemaOptionsOf(context));
        return await undoImport(session, schema, input.bytes, options);
      }).catch((error: unknown) => {
        throw plan === undefined ? error : withPlan(error, plan);
      });
    const result = await (dryRun ? work() : recorded(context, "undo", input.name, work, outcomeOf));
    progress.stop();
    output.text(undoText(result, dryRun));
    if (dryRun) {
      output.hint(
        nextAfterUndoPlan(result, args.file, [
          ...(args.keepInFlight ? ["--keep-in-flight"] : []),
          ...(args.disableTriggers ? ["--disable-triggers"] : []),
          ...(args.audit ? ["--audit"] : []),
          ...(args.otherDatabase ? ["--other-database"] : []),
          ...(args.profile === undefined ? [] : ["--profile", args.profile]),
        ]),
      );
    }
    output.result({ ...result, dryRun });
    return ExitCode.done;
  },
});

/** What an undo did, for the journal. */
function outcomeOf({ plan, tenant, receipt, undone }: UndoResult) {
  const sum = (count: (table: ImportPlan["tables"][number]) => number) =>
    (plan?.tables ?? []).reduce((total, table) => total + count(table), 0);
  return {
    details: {
      tenant: tenant.slug ?? tenant.id,
      of: undone.source,
      inserted: sum((table) => table.insert),
      updated: sum((table) => table.update),
      deleted: sum((table) => table.delete),
      receipt,
    },
  };
}
