import { AppError, ExitCode } from "../errors.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { bundleArgument, maxRowSizeOption, parseRowSize } from "./options.ts";
import { keepHeapSmall } from "./small-heap.ts";

interface VerifyArguments extends GlobalArguments, KeyArguments {
  file: string;
  "max-row-size": string;
}

export const verifyCommand = defineCommand<VerifyArguments>({
  usage: "verify <file>",
  summary: "check every byte, row, reference and chain link of a bundle; no database is needed",
  options: (yargs) =>
    withKeyOptions(yargs.positional("file", bundleArgument)).option(
      "max-row-size",
      maxRowSizeOption,
    ),
  examples: [
    ["pgtenant verify acme.jsonl.zst", "is this copy whole and consistent?"],
    ["pgtenant export acme -o - | pgtenant verify -", "check what an export writes"],
  ],
  exitCodes: [ExitCode.invalidInput, ExitCode.key],
  repeatable: repeatableKeys,
  async run(args, context) {
    keepHeapSmall();
    const { openInput } = await import("../storage/input.ts");
    const { verifyBundle } = await import("../bundle/verify.ts");
    const { verificationDocument, verificationText, findingLines } = await import(
      "./render/verification.ts"
    );
    const { output } = context;
    const started = performance.now();
    const maxRowBytes = parseRowSize(args.maxRowSize);
    const keys = await keysOf(args, context);
    const input = await openInput(args.file, context.signal);
    const progress = await context.progress("verifying");
    if (input.shareRead !== undefined) progress.follow(input.shareRead);
    const found = await verifyBundle(input.bytes, {
      name: input.name,
      maxRowBytes,
      keys,
      onRows: (table, rows) => progress.advance(table, rows),
    });
    progress.stop();
    const seconds = (performance.now() - started) / 1000;
    for (const note of found.notes) output.note(`note: ${note}`);
    const document = { ...verificationDocument(found), seconds };
    if (found.found > 0) {
      throw new AppError(
        "invalid-bundle",
        ExitCode.invalidInput,
        `${input.name} is whole, but ${found.found} thing${found.found === 1 ? "" : "s"} in it do${found.found === 1 ? "es" : ""} not hold`,
        {
          hint: "The bundle was made by other means than pgtenant export, or altered. Take another copy.",
          details: findingLines(found),
          data: document,
        },
      );
    }
    output.text(verificationText(found, input.name, seconds));
    output.result(document);
    return ExitCode.done;
  },
});
