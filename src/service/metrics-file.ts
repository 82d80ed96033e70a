import { randomBytes } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { storageError } from "../storage/local-file.ts";
import { metricsText } from "./metrics.ts";
import type { ServiceStatus } from "./service-status.ts";

/**
 * Leaves the metrics for node_exporter's textfile collector. It reads the folder at any moment and
 * as another user, so the file is replaced as a whole and everybody may read it; there is no
 * secret in it.
 *
 * @throws {AppError} exit 8 when it cannot be written; the old one is still there then
 */
export async function writeMetricsFile(path: string, status: ServiceStatus): Promise<void> {
  // What runs at this moment would stand there as running until the next run.
  const text = await metricsText({ ...status, running: [], schedule: null });
  // Not ending in .prom, so that the collector passes over it.
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(4).toString("hex")}.tmp`);
  try {
    const file = await open(temporary, "wx", 0o644);
    try {
      // The umask has no say here.
      await file.chmod(0o644);
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw storageError(error, path);
  }
}
