import type { ArgumentsCamelCase } from "yargs";
import type { BackupResult } from "../backup/backup.ts";
import type { DumpFormat } from "../backup/backup-name.ts";
import type { PruneResult } from "../backup/prune.ts";
import type { Compression } from "../bundle/layers.ts";
import type { Config } from "../config/config.ts";
import { ExitCode } from "../errors.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import {
  type EncryptArguments,
  encryptionOf,
  repeatableRecipients,
  withEncryptOptions,
} from "./key-options.ts";
import { connectionOf, usage } from "./options.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";
import { jobsOption, programsOf, tempDirOption, wholeNumber } from "./program-options.ts";
import { policyOf, type RetentionArguments, withRetentionOptions } from "./retention-options.ts";
import { keepHeapSmall } from "./small-heap.ts";

interface BackupArguments
  extends GlobalArguments,
    PlaceArguments,
    RetentionArguments,
    EncryptArguments {
  format?: DumpFormat | undefined;
  compress?: Compression | undefined;
  "no-compress": boolean;
  jobs?: string | undefined;
  include?: string | readonly string[] | undefined;
  "allow-plaintext-keys": boolean;
  "role-passwords": boolean;
  "no-prune": boolean;
  "temp-dir"?: string | undefined;
  "timeout-minutes"?: string | undefined;
}

export const backupCommand = defineCommand<BackupArguments>({
  usage: "backup",
  summary: "back up the whole database, and the files beside it",
  options: (yargs) =>
    withRetentionOptions(withEncryptOptions(withPlaceOptions(yargs)))
      .option("format", {
        choices: ["plain", "custom", "directory"] as const,
        requiresArg: true,
        describe: "SQL; pg_dump's archive; pg_dump's archive made over several connections",
        defaultDescription: "BACKUP_FORMAT, else plain",
      })
      .option("compress", {
        choices: ["gzip", "zstd", "none"] as const,
        requiresArg: true,
        describe: "how it is compressed",
        defaultDescription: "BACKUP_COMPRESSION, else gzip",
      })
      .option("no-compress", {
        type: "boolean",
        default: false,
        describe: "the same as --compress none",
      })
      .option("jobs", jobsOption)
      .option("include", {
        type: "string",
        requiresArg: true,
        describe: "a file or folder to keep in the same set, such as the PKI (repeatable)",
        defaultDescription: "BACKUP_INCLUDE_PATHS",
      })
      .option("allow-plaintext-keys", {
        type: "boolean",
        default: false,
        describe: "keep private keys although nothing is encrypted",
      })
      .option("role-passwords", {
        type: "boolean",
        default: false,
        describe: "keep the hashes of the roles' passwords too; needs a superuser",
      })
      .option("no-prune", {
        type: "boolean",
        default: false,
        describe: "remove no older backup afterwards",
      })
      .option("temp-dir", tempDirOption)
      .option("timeout-minutes", {
        type: "string",
        requiresArg: true,
        describe: "end a backup that takes longer",
        defaultDescription: "BACKUP_TIMEOUT_MINUTES, else 60",
      }),
  examples: [
    ["pgtenant backup", "into BACKUP_DIR, as the environment says"],
    ["pgtenant backup --compress zstd --recipient age1…", "so that this host cannot read it"],
    ["pgtenant backup -d /mnt/backups -k 14 --encrypt", "keep 14 days there"],
    ["pgtenant backup --s3-bucket my-backups --include /etc/n-kudo/pki --encrypt", "off-site too"],
  ],
  exitCodes: [ExitCode.refused, ExitCode.locked, ExitCode.key, ExitCode.database, ExitCode.storage],
  repeatable: ["include", ...repeatableRecipients],
  leavesMetrics: true,
  async run(args, context) {
    keepHeapSmall();
    const { runBackup } = await import("../backup/run-backup.ts");
    const { openStores } = await import("../storage/open-stores.ts");
    const { openJournal, withFailuresBefore } = await import("../journal/journal.ts");
    const { pruneAfterBackup } = await import("../backup/prune.ts");
    const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
    const { config, output, signal, interruption, outcome } = context;
    const places = placesOf(args, config);
    const policy = policyOf(args, config);
    const warn = (text: string) => output.warn(text);
    const journal = openJournal(places.directory, { secrets: config.secrets, warn, signal });
    const what = { database: databaseOfUrl(config.databaseUrl) };
    outcome.job = "backup";
    const work = async (): Promise<ExitCode> => {
      const { encryption, warnings, advice } = await encryptionOf(args, config, "backup");
      for (const warning of warnings) output.warn(warning);
      for (const text of advice) output.note(`note: ${text}`);
      const included = await includedOf(args, context, encryption.method !== "none");
      interruption.meaning = "nothing of the backup is left; older ones are as they were";
      const progress = await context.progress("backing up", "bytes");
      const stores = await openStores(places);
      try {
        const { result, after } = await runBackup(
          {
            connection: connectionOf(context, "backup"),
            stores: stores.all,
            programs: programsOf(config),
            format: args.format ?? config.backup.format,
            compression: compressionOf(args, config),
            encryption,
            jobs: wholeNumber("jobs", args.jobs),
            tempFolder: args.tempDir ?? config.backup.tempDirectory,
            included,
            rolePasswords: args.rolePasswords,
            timeoutMinutes:
              wholeNumber("timeout-minutes", args.timeoutMinutes) ?? config.backup.timeoutMinutes,
            signal,
            progress,
            folder: places.directory,
            journal,
            warn,
          },
          async (done, database) =>
            args.noPrune
              ? []
              : await pruneAfterBackup(stores.all, done, {
                  database,
                  policy,
                  now: new Date(),
                  signal,
                }),
        );
        progress.stop();
        return await tellResult(result, after, context);
      } finally {
        await stores.close();
      }
    };
    return await withFailuresBefore(journal, "backup", what, work);
  },
});

async function tellResult(
  result: BackupResult,
  pruned: readonly PruneResult[],
  { output, outcome }: Context,
): Promise<ExitCode> {
  const { backupDocument, backupText } = await import("./render/backup.ts");
  const { retentionWarnings } = await import("../backup/prune.ts");
  const { totalsOf } = await import("../backup/manifest.ts");
  for (const warning of result.warnings) output.warn(warning);
  for (const warning of pruned.flatMap(retentionWarnings)) output.warn(warning);
  output.text(backupText(result, pruned));
  const [failed] = result.failed;
  for (const { place, error } of result.failed) {
    output.error(`pgtenant: the backup is not in ${place}: ${error.message}`);
    if (error.hint !== undefined) output.error(`hint: ${error.hint}`);
  }
  outcome.id = result.id;
  outcome.bytes = totalsOf(result.manifest).storedBytes;
  outcome.failure = failed?.error;
  const exitCode = failed === undefined ? ExitCode.done : failed.error.exitCode;
  output.result({ ...backupDocument(result, pruned), exitCode });
  return exitCode;
}

type Arguments = ArgumentsCamelCase<BackupArguments>;

function compressionOf(args: Arguments, { backup }: Readonly<Config>): Compression {
  if (args.noCompress && args.compress !== undefined && args.compress !== "none") {
    throw usage(
      `--no-compress and --compress ${args.compress} are both given`,
      "Give one of them.",
    );
  }
  if (args.noCompress) return "none";
  return args.compress ?? backup.compression ?? (backup.compress ? "gzip" : "none");
}

async function includedOf(args: Arguments, context: Context, encrypted: boolean) {
  const given = [args.include ?? context.config.backup.includePaths].flat();
  if (given.length === 0) return undefined;
  const { scanIncluded } = await import("../backup/scan-files.ts");
  const { refusePlaintextKeys } = await import("../backup/private-keys.ts");
  const included = await scanIncluded(given, context.signal);
  refusePlaintextKeys(included, encrypted, args.allowPlaintextKeys);
  return included;
}
