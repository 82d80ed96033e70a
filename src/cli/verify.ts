import type { ArgumentsCamelCase } from "yargs";
import { AppError, ExitCode } from "../errors.ts";
import { idOfManifest } from "../tenant/set/set-name.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { type KeyArguments, keysOf, repeatableKeys, withKeyOptions } from "./key-options.ts";
import { maxRowSizeOption, parseRowSize } from "./options.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";
import { keepHeapSmall } from "./small-heap.ts";

interface VerifyArguments extends GlobalArguments, KeyArguments, PlaceArguments {
  file: string;
  "max-row-size": string;
  verbose: boolean;
  "stored-only": boolean;
}

type Arguments = ArgumentsCamelCase<VerifyArguments>;

export const verifyCommand = defineCommand<VerifyArguments>({
  usage: "verify <file>",
  summary: "check every byte of a backup, or every byte, row and reference of a bundle or a set",
  options: (yargs) =>
    withKeyOptions(withPlaceOptions(yargs))
      .positional("file", {
        type: "string",
        demandOption: true,
        describe:
          "a backup's or a bundle's file, a set's manifest, an s3:// URL, a backup's id, latest, or -",
      })
      .option("verbose", {
        alias: "v",
        type: "boolean",
        default: false,
        describe: "say what was found in a backup",
      })
      .option("stored-only", {
        type: "boolean",
        default: false,
        describe: "only compare a backup's or a set's stored bytes with its manifest; needs no key",
      })
      .option("max-row-size", maxRowSizeOption),
  examples: [
    ["pgtenant verify latest", "the newest backup, in each place that has it"],
    ["pgtenant verify -v /backups/backup_20240101_120000.sql.gz", "this file, with what is in it"],
    ["pgtenant verify acme.jsonl.zst", "is this copy whole and consistent?"],
    ["pgtenant verify bundles/set_20240101_020000.manifest.json", "every bundle of export --all"],
    ["pgtenant export acme -o - | pgtenant verify -", "check what an export writes"],
  ],
  exitCodes: [ExitCode.invalidInput, ExitCode.key, ExitCode.storage],
  repeatable: repeatableKeys,
  leavesMetrics: true,
  async run(args, context) {
    keepHeapSmall();
    if (idOfManifest(args.file) !== undefined) return await verifyByManifest(args, context);
    if (namesBackup(args.file)) return await verifyNamedBackup(args, context);
    try {
      return await verifyNamedBundle(args, context);
    } catch (error) {
      // What pg_dump made may have any name, and is no bundle.
      const dump = error instanceof AppError && error.code === "not-a-bundle" && args.file !== "-";
      if (!dump) throw error;
      return await verifyNamedBackup(args, context);
    }
  },
});

/** `latest`, an id, or a file that begins like one, wherever it lies. */
function namesBackup(file: string): boolean {
  return file === "latest" || /(^|\/)backup_\d{8}_\d{6}(\.[^/]*)?$/.test(file);
}

async function verifyByManifest(args: Arguments, context: Context): Promise<ExitCode> {
  const { verifyNamedSet } = await import("./verify-set.ts");
  return await verifyNamedSet(args, context);
}

async function verifyNamedBackup(args: Arguments, context: Context): Promise<ExitCode> {
  const { verifyNamed } = await import("./verify-backup.ts");
  return await verifyNamed(args, context);
}

async function verifyNamedBundle(args: Arguments, context: Context): Promise<ExitCode> {
  const { openInput } = await import("../storage/input.ts");
  const { verifyBundle } = await import("../bundle/verify.ts");
  const { findingsText } = await import("../bundle/findings.ts");
  const { verificationDocument, verificationText, findingLines } = await import(
    "./render/verification.ts"
  );
  const { output } = context;
  const started = performance.now();
  const maxRowBytes = parseRowSize(args.maxRowSize);
  const keys = await keysOf(args, context);
  const input = await openInput(args.file, context.signal, placesOf(args, context.config));
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
      `${input.name} is whole, but ${findingsText(found.found)}`,
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
}
