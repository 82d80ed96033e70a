import type { ArgumentsCamelCase } from "yargs";
import { AppError, ExitCode } from "../errors.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { usage } from "./options.ts";
import { wholeNumber } from "./program-options.ts";

interface HistoryArguments extends GlobalArguments {
  dir?: string | undefined;
  verify: boolean;
  limit?: string | undefined;
  operation?: string | undefined;
}

const shownByDefault = 20;

export const historyCommand = defineCommand<HistoryArguments>({
  usage: "history",
  summary: "show the journal: what was done, by whom, and how it ended",
  options: (yargs) =>
    yargs
      .option("dir", {
        alias: "d",
        type: "string",
        requiresArg: true,
        describe: "the folder whose journal it is",
        defaultDescription: "BACKUP_DIR",
      })
      .option("verify", {
        type: "boolean",
        default: false,
        describe: "check that no line of it was altered, removed or inserted",
      })
      .option("limit", {
        type: "string",
        requiresArg: true,
        describe: "the latest N operations",
        defaultDescription: `${shownByDefault}; with --json all`,
      })
      .option("operation", {
        type: "string",
        requiresArg: true,
        describe: "only operations of this name, such as backup",
      }),
  examples: [
    ["pgtenant history --operation restore", "the latest restores"],
    ["pgtenant history --verify", "exit 3 when the journal was tampered with"],
    ["pgtenant history --json | jq '.records[-1]'", "the last line"],
  ],
  exitCodes: [ExitCode.invalidInput, ExitCode.storage],
  async run(args, context) {
    const folder = args.dir ?? context.config.backup.directory;
    const limit = wholeNumber("limit", args.limit);
    if (folder === "") throw usage("--dir names nothing", "Give the folder of the backups.");
    if (args.operation === "") throw usage("--operation names nothing", "Write it as backup.");
    if (args.verify) {
      if (limit !== undefined || args.operation !== undefined) {
        throw usage(
          `--verify and --${limit === undefined ? "operation" : "limit"} are both given`,
          "A journal is verified as a whole.",
        );
      }
      return await verify(folder, context);
    }
    return context.output.json
      ? await showJson(folder, limit, args, context)
      : await showText(folder, limit ?? shownByDefault, args, context);
  },
});

type Arguments = ArgumentsCamelCase<HistoryArguments>;

async function verify(folder: string, { output }: Context): Promise<ExitCode> {
  const { verifyJournal } = await import("../journal/verify-journal.ts");
  const { verificationText } = await import("./render/history.ts");
  const found = await verifyJournal(folder);
  if (found.records === 0 && found.problems === 0 && found.warnings === 0) {
    throw new AppError("no-journal", ExitCode.usage, `there is no journal "${found.path}"`, {
      hint: "Name the folder of the backups with -d or BACKUP_DIR. If there was one before, it was removed.",
    });
  }
  const messages = found.findings.map((finding) => finding.message);
  if (found.problems > 0) {
    throw new AppError(
      "journal-broken",
      ExitCode.invalidInput,
      `the journal "${found.path}" was tampered with or damaged`,
      {
        hint: "Keep it as evidence, and compare it with a copy from another day; later lines are linked all the same.",
        details: messages,
        data: { ...found },
      },
    );
  }
  for (const message of messages) output.warn(message);
  output.text(verificationText(found));
  output.result(found);
  return ExitCode.done;
}

async function showText(
  folder: string,
  limit: number,
  { operation }: Arguments,
  { output }: Context,
): Promise<ExitCode> {
  const { recentOperations } = await import("../journal/recent-operations.ts");
  const { historyText } = await import("./render/history.ts");
  output.text(historyText(await recentOperations(folder, { limit, operation }), folder));
  return ExitCode.done;
}

/** Every line as it stands in the journal, which may be larger than memory. */
async function showJson(
  folder: string,
  limit: number | undefined,
  { operation }: Arguments,
  { output }: Context,
): Promise<ExitCode> {
  const { Readable } = await import("node:stream");
  const { JsonStreamStringify } = await import("json-stream-stringify");
  const { readJournal } = await import("../journal/journal.ts");
  const { recentRecords } = await import("../journal/recent-operations.ts");
  const records =
    limit === undefined
      ? readJournal(folder, operation)
      : await recentRecords(folder, { limit, operation });
  const document = new JsonStreamStringify({ folder, records: Readable.from(records) });
  await output.resultStream(document.setEncoding("utf8"));
  return ExitCode.done;
}
