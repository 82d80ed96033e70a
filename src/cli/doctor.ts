import { AppError, ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";
import { connectionOf, schemaOptionsOf } from "./options.ts";
import { counted } from "./render/units.ts";

export const doctorCommand = defineCommand({
  usage: "doctor",
  summary: "say what would fail, before it does; changes nothing",
  options: (yargs) => yargs,
  examples: [["pgtenant doctor", "connection, rights, schema, rows"]],
  exitCodes: [ExitCode.database],
  async run(_args, context) {
    const { examine } = await import("../tenant/doctor.ts");
    const { doctorText } = await import("./render/doctor.ts");
    const { config, output } = context;
    if (config.databaseUrlFrom === "default") {
      output.warn("DATABASE_URL is not set; the default of the guide is used");
    }
    const progress = await context.progress("examining");
    const report = await examine(
      connectionOf(context, "doctor"),
      schemaOptionsOf(context),
      progress,
    );
    progress.stop();
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
