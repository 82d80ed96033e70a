import { AppError, ExitCode } from "../errors.ts";
import type { Context } from "./command.ts";
import { type PlaceArguments, placesOf } from "./place-options.ts";

/** S3 had its time during the run. */
const patienceMs = 10_000;

/**
 * Runs a command and leaves the metrics in PGTENANT_METRICS_FILE afterwards, also of a run that has
 * failed. That they cannot be written is a warning, and never changes the result.
 */
export async function leavingMetrics(
  args: Readonly<Record<string, unknown>>,
  context: Context,
  run: () => Promise<ExitCode>,
): Promise<ExitCode> {
  const { metricsFile } = context.config.service;
  if (metricsFile === undefined) return await run();
  try {
    const exitCode = await run();
    await leave(metricsFile, args, context);
    return exitCode;
  } catch (error) {
    // What was not understood has not begun.
    const begun = !(error instanceof AppError) || error.exitCode !== ExitCode.usage;
    if (begun) await leave(metricsFile, args, context);
    throw error;
  }
}

async function leave(
  file: string,
  args: Readonly<Record<string, unknown>>,
  { config, output, signal }: Context,
): Promise<void> {
  if (signal.aborted) return;
  const { openStores } = await import("../storage/open-stores.ts");
  const { statusReaderOf } = await import("../service/serve-status.ts");
  const { writeMetricsFile } = await import("../service/metrics-file.ts");
  try {
    const places = placesOf(args as PlaceArguments, config);
    const stores = await openStores(places);
    try {
      const options = { folder: places.directory, stores: stores.all, patienceMs };
      await writeMetricsFile(file, await statusReaderOf(config, options).read());
    } finally {
      await stores.close();
    }
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    output.warn(`the metrics were not written: ${error.message}`);
  }
}
