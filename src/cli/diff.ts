import type { ArgumentsCamelCase } from "yargs";
import { AppError, ExitCode, retold } from "../errors.ts";
import type { WrittenFile } from "../storage/local-file.ts";
import type { BundleDiff } from "../tenant/diff-types.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import {
  bundleArgument,
  connectionOf,
  maxRowSizeOption,
  parseRowSize,
  schemaOptionsOf,
  usage,
} from "./options.ts";
import {
  repeatableSelection,
  type SelectionArguments,
  selectionFlags,
  selectionOf,
  withSelectionOptions,
} from "./selection-options.ts";
import { keepHeapSmaller } from "./small-heap.ts";

interface DiffArguments extends GlobalArguments, KeyArguments, SelectionArguments {
  bundle: string;
  rows: boolean;
  html?: string | undefined;
  overwrite: boolean;
  "max-row-size": string;
}

type Arguments = ArgumentsCamelCase<DiffArguments>;

export const diffCommand = defineCommand<DiffArguments>({
  usage: "diff <bundle>",
  summary: "compare a bundle with the live rows of its tenant; nothing is written",
  options: (yargs) =>
    withSelectionOptions(
      withKeyOptions(
        yargs
          .positional("bundle", bundleArgument)
          .option("rows", {
            type: "boolean",
            default: false,
            describe: "list each row, and what differs in it",
          })
          .option("html", {
            type: "string",
            requiresArg: true,
            describe: "write a page to look at: a file, an s3:// URL, or - for the standard output",
          })
          .option("overwrite", {
            type: "boolean",
            default: false,
            describe: "replace the page if it exists",
          }),
      ),
    ).option("max-row-size", maxRowSizeOption),
  examples: [
    ["pgtenant diff acme.jsonl.zst", "how many rows are only here, only there, different"],
    ["pgtenant diff acme.jsonl.zst --rows", "which, and what the columns hold on both sides"],
    ["pgtenant diff acme.jsonl.zst --html diff.html", "the same as a page, with filters"],
    ["pgtenant diff acme.jsonl.zst --json | jq .counts", "for programs; exit 9 when different"],
  ],
  exitCodes: [
    ExitCode.invalidInput,
    ExitCode.refused,
    ExitCode.key,
    ExitCode.database,
    ExitCode.storage,
    ExitCode.different,
  ],
  repeatable: [...repeatableKeys, ...repeatableSelection],
  async run(args, context) {
    keepHeapSmaller();
    await checkPage(args, context);
    const { openInput } = await import("../storage/input.ts");
    const { withSession } = await import("../postgres/session.ts");
    const { openSchema } = await import("../tenant/open-schema.ts");
    const { diffBundle } = await import("../tenant/diff.ts");
    const progress = await context.progress("comparing");
    const keys = await keysOf(args, context);
    const selection = selectionOf(args);
    const maxRowBytes = parseRowSize(args.maxRowSize);
    const input = await openInput(args.bundle, context.signal, context.config.backup);
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    const options = { name: input.name, selection, maxRowBytes, keys, progress };
    return await withSession(connectionOf(context, "diff"), async (session) => {
      const schema = await openSchema(session, schemaOptionsOf(context));
      return await diffBundle(session, schema, input.bytes, options, async (diff) => {
        await show(diff, args, context);
        return diff.summary.equal ? ExitCode.done : ExitCode.different;
      });
    });
  },
});

/** What would only be found when the work is done. */
async function checkPage({ html, overwrite }: Arguments, { output }: Context): Promise<void> {
  if (html === undefined) {
    if (overwrite) throw usage("--overwrite goes with --html", "Name the page: --html FILE.");
    return;
  }
  if (html === "") throw usage("--html names nothing", "Give the path of a new file.");
  if (html === "-") {
    if (output.json) {
      throw usage("--html - and --json both want the standard output", "Give the page a file.");
    }
    output.leaveStdoutToBundle();
    return;
  }
  const { isS3Url, parseS3Url } = await import("../storage/s3-url.ts");
  if (isS3Url(html)) {
    parseS3Url(html);
    return;
  }
  const { refuseExisting } = await import("../storage/local-file.ts");
  if (!overwrite) await refuseExisting(html).catch(adviseOnPage);
}

async function show(diff: BundleDiff, args: Arguments, context: Context): Promise<void> {
  const { diffText, findingsText, nextAfterDiff } = await import("./render/diff.ts");
  const { output } = context;
  const { summary } = diff;
  for (const warning of summary.warnings) output.warn(warning);
  output.text(diffText(summary));
  const listed = args.rows && !output.json;
  if (listed && !summary.equal) {
    output.text("");
    await output.textStream(findingsText(diff.findings()));
  }
  const page =
    args.html === undefined ? undefined : await writePage(diff, args.html, args, context);
  if (page !== undefined && page.path !== "-") output.text(`page: ${page.path}`);
  if (!summary.equal) {
    output.hint("");
    output.hint(nextAfterDiff(summary, args.bundle, flagsOf(args), args.rows));
  }
  if (!output.json) return;
  const { jsonWithList } = await import("./render/streamed-json.ts");
  const head = { ...summary, ...(page === undefined ? {} : { html: page }) };
  await output.resultStream(jsonWithList(head, "findings", diff.findings()));
}

async function writePage(
  diff: BundleDiff,
  path: string,
  { overwrite }: Arguments,
  { signal, config, interruption }: Context,
): Promise<WrittenFile> {
  const { writeOutput } = await import("../storage/output.ts");
  const { diffPage, maxRowsPerTable } = await import("./render/diff-html.ts");
  const { Readable } = await import("node:stream");
  interruption.meaning = "the partial page was removed; nothing else was written";
  const page = Readable.from(diffPage(diff.summary, diff.findings(maxRowsPerTable)));
  const bytes = page.map((text: string) => Buffer.from(text.toWellFormed()));
  return await writeOutput(path, bytes, { overwrite, signal, server: config.backup }).catch(
    adviseOnPage,
  );
}

function adviseOnPage(error: unknown): never {
  if (!(error instanceof AppError) || error.code !== "output-exists") throw error;
  throw retold(error, { hint: "Choose another name with --html, or add --overwrite." });
}

/** What says what is compared and how the bundle is opened, to be given again. */
function flagsOf(args: Arguments): readonly string[] {
  const several = (name: string, values: string | readonly string[] | undefined) =>
    [values ?? []].flat().flatMap((value) => [name, value]);
  return [
    ...several("--profile", args.profile),
    ...several("--key-file", args.keyFile),
    ...several("--identity", args.identity),
    // Its value is for no terminal.
    ...(args.key === undefined ? [] : ["--key", "KEY"]),
    ...selectionFlags(args),
    ...(args.acceptUnclassified ? ["--accept-unclassified"] : []),
  ];
}
