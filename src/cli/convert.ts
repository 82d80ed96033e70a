import type { ArgumentsCamelCase } from "yargs";
import { AppError, ExitCode } from "../errors.ts";
import type { ConvertOptions } from "../tenant/convert.ts";
import { type BundleOutputArguments, bundleOutputOf, withBundleOutput } from "./bundle-output.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { repeatableRecipients } from "./key-options.ts";
import { maxRowSizeOption, parseRowSize, usage } from "./options.ts";
import { keepHeapSmaller } from "./small-heap.ts";

interface ConvertArguments extends GlobalArguments, BundleOutputArguments {
  document: string;
  slug?: string | undefined;
  name?: string | undefined;
  "drop-references": boolean;
  "max-row-size": string;
}

export const convertCommand = defineCommand<ConvertArguments>({
  usage: "convert <document>",
  summary: "turn N-Kudo's own state document (version 1.0) into a bundle; no database is needed",
  options: (yargs) =>
    withBundleOutput(
      yargs.positional("document", {
        type: "string",
        demandOption: true,
        describe: "the document's file, an s3:// URL, or - for the standard input",
      }),
    )
      .option("slug", {
        type: "string",
        requiresArg: true,
        describe: "with --name: the tenant's slug, for its own row, which no document holds",
      })
      .option("name", { type: "string", requiresArg: true, describe: "the tenant's name" })
      .option("drop-references", {
        type: "boolean",
        default: false,
        describe: "set references to NULL whose rows the document lacks, where NULL is allowed",
      })
      .option("max-row-size", maxRowSizeOption),
  examples: [
    ["pgtenant convert state.json -o acme.jsonl.zst", "for a tenant that is still there"],
    [
      "pgtenant convert state.json --slug acme --name 'Acme Corp.' --drop-references -o acme.jsonl.zst",
      "for one that is not",
    ],
  ],
  exitCodes: [ExitCode.invalidInput, ExitCode.key, ExitCode.storage],
  repeatable: repeatableRecipients,
  async run(args, context) {
    keepHeapSmaller();
    const { openInput } = await import("../storage/input.ts");
    const { convertDocument } = await import("../tenant/convert.ts");
    const { convertText, nextAfterConvert } = await import("./render/convert.ts");
    const { config, output, signal } = context;
    requireNKudo(config.profile);
    const root = rootOf(args);
    const form = await bundleOutputOf(args, context, false);
    const input = await openInput(args.document, signal, config.backup);
    const progress = await context.progress("converting");
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    const result = await convertDocument(input.bytes, {
      ...form,
      name: input.name,
      server: config.backup,
      overwrite: args.overwrite,
      root,
      dropReferences: args.dropReferences,
      maxRowBytes: parseRowSize(args.maxRowSize),
      tempFolder: config.backup.tempDirectory,
      searchPath: config.searchPath,
      progress,
      signal,
    });
    progress.stop();
    for (const warning of result.warnings) output.warn(warning);
    output.text(convertText(result, input.name));
    output.hint(nextAfterConvert(result));
    output.result(result);
    return ExitCode.done;
  },
});

function rootOf({ slug, name }: ArgumentsCamelCase<ConvertArguments>): ConvertOptions["root"] {
  if (slug === undefined && name === undefined) return undefined;
  if (slug === undefined || name === undefined || slug === "" || name === "") {
    throw usage(
      "--slug and --name make the tenant's row together",
      "Give both: --slug acme --name 'Acme Corp.'",
    );
  }
  return { slug, name };
}

function requireNKudo(profile: string): void {
  if (profile === "n-kudo") return;
  throw new AppError(
    "other-profile",
    ExitCode.usage,
    `convert reads N-Kudo's state documents, and --profile names "${profile}"`,
    { hint: "Leave --profile out." },
  );
}
