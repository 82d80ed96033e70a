import type { ArgumentsCamelCase } from "yargs";
import { ExitCode } from "../errors.ts";
import { everyTenant } from "../journal/subjects.ts";
import type { ExportRequest } from "../tenant/export-tenants.ts";
import type { ExportListener } from "../tenant/set/export-set.ts";
import { type BundleOutputArguments, bundleOutputOf, withBundleOutput } from "./bundle-output.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { repeatableRecipients } from "./key-options.ts";
import { connectionOf, maxRowSizeOption, parseRowSize, schemaOptionsOf, usage } from "./options.ts";
import { recorded } from "./recorded.ts";
import { errorDocument } from "./report-error.ts";
import {
  repeatableSelection,
  type SelectionArguments,
  selectionOf,
  timeOf,
  withSelectionOptions,
} from "./selection-options.ts";

interface ExportArguments extends GlobalArguments, BundleOutputArguments, SelectionArguments {
  tenant?: string | undefined;
  all: boolean;
  jobs?: string | undefined;
  resume: boolean;
  "resume-since"?: string | undefined;
  shard?: string | undefined;
  redact: boolean;
  anonymise: boolean;
  "no-validate": boolean;
  "max-row-size": string;
}

/** Measured on two processors: two thirds of the time that one takes; more gain little. */
const usualJobs = 4;
const mostJobs = 16;
const mostShards = 100_000;

export const exportCommand = defineCommand<ExportArguments>({
  usage: "export [tenant]",
  summary: "write a tenant into a bundle",
  options: (yargs) =>
    withSelectionOptions(
      withBundleOutput(
        yargs
          .positional("tenant", { type: "string", describe: "the tenant's id or slug" })
          .option("all", {
            type: "boolean",
            default: false,
            describe: "every tenant, one bundle each, all from one snapshot",
          })
          .option("jobs", {
            type: "string",
            requiresArg: true,
            describe: `with --all: how many tenants at a time, 1 to ${mostJobs}`,
            defaultDescription: String(usualJobs),
          })
          .option("resume", {
            type: "boolean",
            default: false,
            describe: "with --all: go on with a set of the last 24 hours that was not finished",
          })
          .option("resume-since", {
            type: "string",
            requiresArg: true,
            describe: "with --resume: only with a set that has begun since this time",
          })
          .option("shard", {
            type: "string",
            requiresArg: true,
            describe: "with --all: only the I-th of N shares of the tenants, as I/N, from 0",
          }),
      ),
    )
      .option("redact", {
        type: "boolean",
        default: false,
        describe: "replace secrets such as password hashes, so that the bundle can be given away",
      })
      .option("anonymise", {
        alias: "anonymize",
        type: "boolean",
        default: false,
        describe: "also replace what names people and places",
      })
      .option("no-validate", {
        type: "boolean",
        default: false,
        describe: "do not check rows against their schemas",
      })
      .option("max-row-size", maxRowSizeOption),
  examples: [
    ["pgtenant export acme", "into a dated file below BACKUP_DIR"],
    ["pgtenant export acme -o acme.jsonl.zst", "into this file"],
    ["pgtenant export acme --recipient age1…", "for the owner of this key only"],
    ["pgtenant export acme -o - | ssh host 'cat > acme.jsonl'", "into a pipe"],
    ["pgtenant export acme --select site=berlin", "a site with all that belongs to it"],
    ["pgtenant export --all -o bundles/", "every tenant, into a folder"],
    ["pgtenant export --all --resume --jobs 4", "goes on where an earlier run was ended"],
    ["pgtenant export --all --shard 0/3", "the first of three runs that share the tenants out"],
    ["pgtenant export acme -o s3://backups/acme/", "a dated object in this bucket"],
    ["pgtenant export acme --anonymise -o acme.jsonl.zst", "for a developer's own database"],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
    ExitCode.locked,
    ExitCode.key,
    ExitCode.database,
    ExitCode.storage,
  ],
  repeatable: [...repeatableRecipients, ...repeatableSelection],
  run: (args, context) => (args.all ? exportAll(args, context) : exportOne(args, context)),
});

type Arguments = ArgumentsCamelCase<ExportArguments>;

async function exportOne(args: Arguments, context: Context): Promise<ExitCode> {
  const { tenant } = args;
  for (const name of ["jobs", "resume", "resume-since", "shard"] as const) {
    if (args[name] === undefined || args[name] === false) continue;
    throw usage(`--${name} is given without --all`, "It says how all tenants are exported.");
  }
  if (tenant === undefined || tenant === "") {
    throw usage(
      "no tenant is named",
      "pgtenant tenants lists them; pgtenant export --all exports each.",
    );
  }
  const { exportNamedTenant } = await import("../tenant/export-tenants.ts");
  const { exportText, nextAfterExport } = await import("./render/export.ts");
  const { output } = context;
  const request = await requestOf(args, context, tenant);
  const result = await recorded(
    context,
    "export",
    tenant,
    () => exportNamedTenant(request, tenant),
    ({ output: to, rows, bytes }) => ({ details: { to, rows, bytes } }),
  );
  for (const warning of result.warnings) output.warn(warning);
  output.text(exportText(result));
  output.hint(nextAfterExport(result));
  output.result(result);
  return ExitCode.done;
}

async function exportAll(args: Arguments, context: Context): Promise<ExitCode> {
  if (args.tenant !== undefined) {
    throw usage(`--all and the tenant "${args.tenant}" are both given`, "Give one of them.");
  }
  if (args.output === "-") {
    throw usage(
      "--all writes one file a tenant and cannot write to the standard output",
      "Name a folder with -o.",
    );
  }
  const [jobs, shard] = [jobsOf(args.jobs), shardOf(args.shard)];
  const resumeSince = resumeSinceOf(args);
  const { exportAllTenants } = await import("../tenant/set/export-set.ts");
  const { exportAllText, exportLine, nextAfterExportAll } = await import("./render/export.ts");
  const { output } = context;
  const warned = new Set<string>();
  const request = { ...(await requestOf(args, context, "--all")), jobs, shard };
  const outcome: ExportListener["outcome"] = (outcome) => {
    if ("error" in outcome) {
      const { tenant, error } = outcome;
      output.error(
        `pgtenant: tenant "${tenant.slug ?? tenant.id}" was not exported: ${error.message}`,
      );
      for (const detail of error.details.slice(0, 5)) output.error(`  ${detail}`);
      if (error.hint !== undefined) output.error(`hint: ${error.hint}`);
      return;
    }
    for (const warning of outcome.warnings) {
      if (!warned.has(warning)) output.warn(warning);
      warned.add(warning);
    }
    output.text(exportLine(outcome));
  };
  const note = (text: string) => output.note(text);
  const warn = (text: string) => output.warn(text);
  const work = () =>
    exportAllTenants({ ...request, resume: args.resume, resumeSince }, { outcome, note, warn });
  const subject = shard === null ? everyTenant : `shard ${shard.index}/${shard.of} of the tenants`;
  const result = await recorded(context, "export", subject, work, (done) => ({
    exitCode: done.failed[0]?.error.exitCode,
    details: {
      exported: done.exported.length,
      failed: done.failed.length,
      set: done.set.manifest,
      complete: done.set.complete,
    },
  }));
  output.text(exportAllText(result));
  output.hint(nextAfterExportAll(result));
  const [first] = result.failed;
  const exitCode = first?.error.exitCode ?? ExitCode.done;
  if (first !== undefined) {
    output.error(
      `pgtenant: ${result.failed.length} of ${result.failed.length + result.exported.length} tenants could not be exported`,
    );
  }
  output.result({
    ...result,
    failed: result.failed.map(({ tenant, error }) => ({ tenant, error: errorDocument(error) })),
    exitCode,
  });
  return exitCode;
}

async function requestOf(args: Arguments, context: Context, what: string): Promise<ExportRequest> {
  const { config, signal } = context;
  const form = await bundleOutputOf(args, context, args.all);
  return {
    connection: connectionOf(context, `export ${what}`),
    schema: schemaOptionsOf(context),
    selection: selectionOf(args),
    ...form,
    server: config.backup,
    redact: args.redact || args.anonymise ? { personal: args.anonymise } : undefined,
    overwrite: args.overwrite,
    validate: !args.noValidate,
    maxRowBytes: parseRowSize(args.maxRowSize),
    progress: await context.progress("exporting", args.all ? "tenants" : "rows"),
    signal,
  };
}

/** @throws {AppError} exit 2 when it is no time, or nothing is gone on with */
function resumeSinceOf({ resume, resumeSince }: Arguments): Date | undefined {
  if (resumeSince === undefined) return undefined;
  if (!resume) {
    throw usage(
      "--resume-since is given without --resume",
      "It says which sets are not gone on with.",
    );
  }
  return new Date(timeOf("resume-since", resumeSince));
}

/** @throws {AppError} exit 2 when it is no number of jobs */
function jobsOf(text: string | undefined): number {
  if (text === undefined) return usualJobs;
  const jobs = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (jobs < 1 || jobs > mostJobs) {
    throw usage(`--jobs "${text}" is not a number from 1 to ${mostJobs}`, "Write it as --jobs 4.");
  }
  return jobs;
}

/** @throws {AppError} exit 2 when it is no shard */
function shardOf(text: string | undefined) {
  if (text === undefined) return null;
  const [, index = "", of = ""] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? [];
  const shard = { index: Number(index), of: Number(of) };
  if (index === "" || shard.of > mostShards || shard.index >= shard.of) {
    throw usage(
      `--shard "${text}" is no shard of the tenants`,
      "Write it as I/N with I from 0 to N - 1: --shard 0/3, --shard 1/3 and --shard 2/3.",
    );
  }
  return shard;
}
