import type { ArgumentsCamelCase } from "yargs";
import { ExitCode } from "../errors.ts";
import type { ExportListener, ExportRequest } from "../tenant/export-tenants.ts";
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
  withSelectionOptions,
} from "./selection-options.ts";

interface ExportArguments extends GlobalArguments, BundleOutputArguments, SelectionArguments {
  tenant?: string | undefined;
  all: boolean;
  redact: boolean;
  anonymise: boolean;
  "no-validate": boolean;
  "max-row-size": string;
}

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
    ["pgtenant export acme -o s3://backups/acme/", "a dated object in this bucket"],
    ["pgtenant export acme --anonymise -o acme.jsonl.zst", "for a developer's own database"],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
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
  const { exportAllTenants } = await import("../tenant/export-tenants.ts");
  const { exportAllText, exportLine } = await import("./render/export.ts");
  const { output } = context;
  const warned = new Set<string>();
  const request = await requestOf(args, context, "--all");
  const tell: ExportListener = (outcome) => {
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
  const work = () => exportAllTenants(request, tell);
  const result = await recorded(context, "export", "every tenant", work, (done) => ({
    exitCode: done.failed[0]?.error.exitCode,
    details: { exported: done.exported.length, failed: done.failed.length },
  }));
  output.text(exportAllText(result));
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
    progress: await context.progress("exporting"),
    signal,
  };
}
