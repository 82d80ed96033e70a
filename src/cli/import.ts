import type { ArgumentsCamelCase } from "yargs";
import { AppError, ExitCode, retold } from "../errors.ts";
import type {
  CloneOptions,
  CollisionPolicy,
  ImportMode,
  ImportOptions,
  ImportPlan,
  ImportResult,
} from "../tenant/import-types.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import {
  bundleArgument,
  connectionOf,
  maxRowSizeOption,
  parseAssignments,
  parseRowSize,
  schemaOptionsOf,
  usage,
} from "./options.ts";
import { receiptOption, receiptOptionsOf } from "./receipt-options.ts";
import { recorded } from "./recorded.ts";
import {
  repeatableSelection,
  type SelectionArguments,
  selectionFlags,
  selectionOf,
  withSelectionOptions,
} from "./selection-options.ts";
import { keepHeapSmaller } from "./small-heap.ts";

interface ImportArguments extends GlobalArguments, KeyArguments, SelectionArguments {
  bundle: string;
  mode: ImportMode;
  "dry-run": boolean;
  yes: boolean;
  set?: string | undefined;
  "leave-out"?: string | undefined;
  "disable-triggers": boolean;
  "keep-in-flight": boolean;
  "expire-credentials": boolean;
  "on-collision": CollisionPolicy;
  plan?: string | undefined;
  "as-tenant"?: string | undefined;
  name?: string | undefined;
  "with-audit": boolean;
  audit: boolean;
  "accept-redacted": boolean;
  "max-row-size": string;
  receipt?: string | undefined;
}

type Arguments = ArgumentsCamelCase<ImportArguments>;

export const importCommand = defineCommand<ImportArguments>({
  usage: "import <bundle>",
  summary: "put a bundle's rows back, in one transaction",
  options: (yargs) =>
    withSelectionOptions(
      withKeyOptions(
        yargs
          .positional("bundle", bundleArgument)
          .option("mode", {
            choices: ["missing", "overwrite", "replace"] as const,
            default: "missing" as const,
            requiresArg: true,
            describe:
              "insert what is absent; also set rows that differ; also delete rows the bundle lacks",
          })
          .option("dry-run", {
            type: "boolean",
            default: false,
            describe: "show the plan and change nothing",
          })
          .option("yes", {
            type: "boolean",
            default: false,
            describe: "confirm that rows are altered or deleted",
          })
          .option("set", {
            type: "string",
            requiresArg: true,
            describe:
              "table.column=value for a column that needs a value and has none (repeatable)",
          })
          .option("leave-out", {
            type: "string",
            requiresArg: true,
            describe: "a table or table.column that the target lacks and may lose (repeatable)",
          })
          .option("disable-triggers", {
            type: "boolean",
            default: false,
            describe: "keep user triggers from altering the rows",
          })
          .option("keep-in-flight", {
            type: "boolean",
            default: false,
            describe: "restore work that was in flight as it was, instead of ending it",
          })
          .option("expire-credentials", {
            type: "boolean",
            default: false,
            describe: "bring tokens and keys back revoked",
          })
          .option("on-collision", {
            choices: ["fail", "skip", "adopt"] as const,
            default: "fail" as const,
            requiresArg: true,
            describe:
              "a live row of another key holds a unique value: refuse, leave the row out, or let the live row stand for it",
          })
          .option("plan", {
            type: "string",
            requiresArg: true,
            describe: "apply only the plan with this hash, as a dry run has shown it",
          })
          .option("as-tenant", {
            type: "string",
            requiresArg: true,
            describe: "import as a new tenant with this slug, under new keys",
          })
          .option("name", {
            type: "string",
            requiresArg: true,
            describe: "with --as-tenant: the new tenant's name",
          })
          .option("with-audit", {
            type: "boolean",
            default: false,
            describe: "with --as-tenant: append the audit events too, chained anew and marked",
          })
          .option("audit", {
            type: "boolean",
            default: false,
            describe: "append an event about the import to the audit log",
          })
          .option("accept-redacted", {
            type: "boolean",
            default: false,
            describe: "take a bundle whose secrets or names were replaced",
          }),
      ),
    )
      .option("max-row-size", maxRowSizeOption)
      .option("receipt", receiptOption),
  examples: [
    ["pgtenant import acme.jsonl.zst --dry-run", "show what would change"],
    ["pgtenant import acme.jsonl.zst", "insert the rows that are missing"],
    ["pgtenant import acme.jsonl.zst --mode replace --yes", "make the tenant what the bundle says"],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
    ExitCode.locked,
    ExitCode.key,
    ExitCode.database,
    ExitCode.storage,
  ],
  repeatable: ["set", "leave-out", "leaveOut", ...repeatableKeys, ...repeatableSelection],
  async run(args, context) {
    keepHeapSmaller();
    const { openInput } = await import("../storage/input.ts");
    const { withSession } = await import("../postgres/session.ts");
    const { openSchema } = await import("../tenant/open-schema.ts");
    const { importBundle } = await import("../tenant/import.ts");
    const { importText, nextAfterPlan, planText } = await import("./render/plan.ts");
    const { output, interruption } = context;
    const progress = await context.progress("importing");
    let plan: ImportPlan | undefined;
    const given = importOptions(args);
    const receipt = receiptOptionsOf(args, context);
    const keys = await keysOf(args, context);
    const input = await openInput(args.bundle, context.signal, context.config.backup);
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    const options: ImportOptions = {
      ...given,
      keys,
      receipt,
      name: input.name,
      progress,
      onPlan: (made) => {
        plan = made;
        progress.stop();
        for (const warning of made.warnings) output.warn(warning);
        output.text(planText(made));
        if (!given.dryRun) interruption.meaning = whileApplying;
      },
    };
    const work = () =>
      withSession(connectionOf(context, "import"), async (session) => {
        const schema = await openSchema(session, schemaOptionsOf(context));
        return await importBundle(session, schema, input.bytes, options);
      }).catch((error: unknown) => {
        throw plan === undefined ? error : withPlan(error, plan);
      });
    const result = await (given.dryRun
      ? work()
      : recorded(context, "import", input.name, work, outcomeOf));
    progress.stop();
    output.text(importText(result, given.dryRun));
    if (given.dryRun) output.hint(nextAfterPlan(result, args.bundle, flagsOf(args)));
    output.result({ ...result, dryRun: given.dryRun });
    return ExitCode.done;
  },
});

/** What an import did, for the journal. */
function outcomeOf({ plan, receipt }: ImportResult) {
  const { tenant, clonedFrom, mode, tables } = plan;
  const sum = (count: (table: (typeof tables)[number]) => number) =>
    tables.reduce((total, table) => total + count(table), 0);
  return {
    details: {
      tenant: tenant.slug ?? tenant.id,
      ...(clonedFrom === undefined ? {} : { clonedFrom: clonedFrom.slug ?? clonedFrom.id }),
      mode,
      inserted: sum((table) => table.insert),
      updated: sum((table) => table.update),
      deleted: sum((table) => table.delete),
      receipt,
    },
  };
}

export const whileApplying =
  "nothing was written, unless the transaction was already being committed; run the same command again, it changes nothing twice";

function importOptions(args: Arguments): Omit<ImportOptions, "name" | "keys" | "progress"> {
  return {
    mode: args.mode,
    dryRun: args.dryRun,
    confirmed: args.yes,
    set: parseAssignments([args.set ?? []].flat()),
    leaveOut: [args.leaveOut ?? []].flat(),
    disableTriggers: args.disableTriggers,
    keepInFlight: args.keepInFlight,
    expireCredentials: args.expireCredentials,
    onCollision: args.onCollision,
    selection: selectionOf(args),
    planHash: args.plan,
    clone: cloneOf(args),
    audit: args.audit,
    acceptRedacted: args.acceptRedacted,
    maxRowBytes: parseRowSize(args.maxRowSize),
  };
}

function cloneOf(args: Arguments): CloneOptions | undefined {
  const { asTenant: slug, name, withAudit } = args;
  if (slug === undefined) {
    if (name === undefined && !withAudit) return undefined;
    throw usage(
      `${withAudit ? "--with-audit" : "--name"} goes with --as-tenant`,
      "Give the new tenant's slug: --as-tenant SLUG.",
    );
  }
  if (args.mode !== "missing") {
    throw usage(
      `--as-tenant makes a new tenant, and --mode ${args.mode} changes one that exists`,
      "Leave out --mode.",
    );
  }
  return { slug, name, withAudit };
}

/** The flags that shape a plan, so that the command that applies it has them too. */
function flagsOf(args: Arguments): readonly string[] {
  const several = (name: string, values: string | readonly string[] | undefined) =>
    [values ?? []].flat().flatMap((value) => [name, value]);
  return [
    ...(args.mode === "missing" ? [] : ["--mode", args.mode]),
    ...several("--set", args.set),
    ...several("--leave-out", args.leaveOut),
    ...several("--profile", args.profile),
    ...several("--key-file", args.keyFile),
    ...several("--identity", args.identity),
    // Its value is for no terminal.
    ...(args.key === undefined ? [] : ["--key", "KEY"]),
    ...(args.disableTriggers ? ["--disable-triggers"] : []),
    ...(args.keepInFlight ? ["--keep-in-flight"] : []),
    ...(args.expireCredentials ? ["--expire-credentials"] : []),
    ...(args.onCollision === "fail" ? [] : ["--on-collision", args.onCollision]),
    ...selectionFlags(args),
    ...several("--as-tenant", args.asTenant),
    ...several("--name", args.name),
    ...(args.withAudit ? ["--with-audit"] : []),
    ...(args.audit ? ["--audit"] : []),
    ...(args.acceptRedacted ? ["--accept-redacted"] : []),
    ...(args.acceptUnclassified ? ["--accept-unclassified"] : []),
  ];
}

/** The plan is what a refusal is about, so a program gets it along with the error. */
export function withPlan(error: unknown, plan: ImportPlan): unknown {
  if (!(error instanceof AppError)) return error;
  return retold(error, { data: { ...error.data, plan } });
}
