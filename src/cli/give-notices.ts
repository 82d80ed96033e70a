import type { Config } from "../config/config.ts";
import type { AppError, ExitCode } from "../errors.ts";
import type { Context } from "./command.ts";

/**
 * Runs a command and tells of its end as BACKUP_ON_SUCCESS_URL and its like want it: a backup by
 * cron is worth as much as one of the service. What becomes of a notice is a warning at most. A run
 * that was interrupted is told of by nobody: whoever did it knows.
 */
export async function givingNotices(
  context: Context,
  run: () => Promise<ExitCode>,
): Promise<ExitCode> {
  const started = performance.now();
  const seconds = () => Math.round(performance.now() - started) / 1000;
  let exitCode: ExitCode;
  try {
    exitCode = await run();
  } catch (error) {
    const { failureOf } = await import("../service/retries.ts");
    await give(context, seconds(), failureOf(error));
    throw error;
  }
  await give(context, seconds(), context.outcome.failure);
  return exitCode;
}

async function give(
  { config, outcome, output, signal }: Context,
  seconds: number,
  failure: AppError | undefined,
): Promise<void> {
  const { job } = outcome;
  if (job === undefined || signal.aborted) return;
  const { url, command } =
    failure === undefined ? config.service.onSuccess : config.service.onFailure;
  if (url === undefined && command === undefined) return;
  const { giveNotice } = await import("../service/notices.ts");
  const end = { job, slot: undefined, seconds, outcome, failure };
  for (const message of await giveNotice(config, end, await databaseOf(config), { signal })) {
    output.warn(message);
  }
}

/** To verify needs no database, nor a URL that can be read. */
async function databaseOf({ databaseUrl }: Readonly<Config>): Promise<string> {
  const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
  try {
    return databaseOfUrl(databaseUrl);
  } catch {
    return "";
  }
}
