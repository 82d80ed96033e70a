import { AppError, ExitCode } from "../errors.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { encryptionOf, keysOf } from "./key-options.ts";
import { connectionOf, schemaOptionsOf } from "./options.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";
import { programsOf } from "./program-options.ts";
import { counted } from "./render/units.ts";

interface DoctorArguments extends GlobalArguments, PlaceArguments {}

export const doctorCommand = defineCommand<DoctorArguments>({
  usage: "doctor",
  summary: "say what would fail, before it does",
  options: (yargs) => withPlaceOptions(yargs),
  examples: [
    ["pgtenant doctor", "connection, rights, schema, rows, programs, backups, disk, S3, key"],
  ],
  exitCodes: [ExitCode.key, ExitCode.database, ExitCode.storage],
  async run(args, context) {
    const { doctorReport, examine } = await import("../tenant/doctor.ts");
    const { doctorText } = await import("./render/doctor.ts");
    const { config, output } = context;
    if (config.databaseUrlFrom === "default") {
      output.warn("DATABASE_URL is not set; the default of the guide is used");
    }
    const progress = await context.progress("examining");
    const rows = await examine(connectionOf(context, "doctor"), schemaOptionsOf(context), progress);
    progress.stop();
    const report = doctorReport([...rows.findings, ...(await backupFindings(args, context))]);
    output.text(doctorText(report));
    if (report.exitCode !== ExitCode.done) {
      throw new AppError(
        "problems-found",
        report.exitCode,
        `${counted(report.problems, "problem")} found`,
        { hint: "Each is described above, with what to do.", data: { ...report } },
      );
    }
    output.result(report);
    return ExitCode.done;
  },
});

async function backupFindings(args: Parameters<typeof placesOf>[0], context: Context) {
  const { examineBackups } = await import("../backup/examine-backups.ts");
  const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
  const { openStores } = await import("../storage/open-stores.ts");
  const { config, output, signal } = context;
  const stores = await openStores(placesOf(args, config));
  try {
    return await examineBackups({
      connection: connectionOf(context, "doctor"),
      database: databaseOfUrl(config.databaseUrl),
      stores: stores.all,
      programs: programsOf(config),
      encryption: await encryptionOf({}, config, "backup").then(
        (chosen) => {
          for (const warning of chosen.warnings) output.warn(warning);
          return chosen.encryption;
        },
        (error: unknown) => {
          if (error instanceof AppError) return error;
          throw error;
        },
      ),
      keys: await keysOf({}, context),
      rpoHours: config.service.rpoHours,
      now: new Date(),
      signal,
    });
  } finally {
    await stores.close();
  }
}
