import { ExitCode } from "../errors.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { bundleArgument, maxRowSizeOption, parseRowSize } from "./options.ts";

interface InspectArguments extends GlobalArguments, KeyArguments {
  bundle: string;
  "max-row-size": string;
}

export const inspectCommand = defineCommand<InspectArguments>({
  usage: "inspect <bundle>",
  summary: "show what is in a bundle; no database is needed",
  options: (yargs) =>
    withKeyOptions(yargs.positional("bundle", bundleArgument)).option(
      "max-row-size",
      maxRowSizeOption,
    ),
  examples: [
    ["pgtenant inspect acme.jsonl.zst", "tenant, source, tables, rows, sizes"],
    ["ssh host cat acme.jsonl.zst | pgtenant inspect -", "the same from a pipe"],
  ],
  exitCodes: [ExitCode.invalidInput, ExitCode.key, ExitCode.storage],
  repeatable: repeatableKeys,
  async run(args, context) {
    const { openInput } = await import("../storage/input.ts");
    const { inspectBundle } = await import("../bundle/inspect.ts");
    const { inspectionDocument, inspectionText } = await import("./render/inspection.ts");
    const { output } = context;
    const maxRowBytes = parseRowSize(args.maxRowSize);
    const keys = await keysOf(args, context);
    const input = await openInput(args.bundle, context.signal, context.config.backup);
    const progress = await context.progress("reading");
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    const found = await inspectBundle(input.bytes, {
      name: input.name,
      maxRowBytes,
      keys,
      onRows: (table, rows) => progress.advance(table, rows),
    });
    progress.stop();
    output.text(inspectionText(found));
    output.result(inspectionDocument(found));
    return ExitCode.done;
  },
});
