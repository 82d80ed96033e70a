import { join } from "node:path";
import { mapTexts, maskSecrets } from "../../config/secrets.ts";
import { openLocalStore } from "../../storage/local-store.ts";
import { oneChunk } from "../../storage/one-chunk.ts";
import type { DrillReport } from "./drill-report.ts";
import { reportPage } from "./report-page.ts";

/** Below the folder of the backups. */
export const drillFolder = "drills";

export interface WrittenReport {
  readonly json: string;
  readonly page: string;
}

/**
 * Writes a report as JSON and as a page, `drills/<id>.json` and `.html`, each whole or not at all.
 *
 * @param secrets masked in both
 * @throws {AppError} exit 8 when they cannot be written
 */
export async function writeReport(
  folder: string,
  report: DrillReport,
  secrets: readonly string[],
): Promise<WrittenReport> {
  const place = join(folder, drillFolder);
  const store = openLocalStore(place);
  const [json, page] = [`${report.id}.json`, `${report.id}.html`];
  // In the texts themselves: what JSON or HTML makes of a secret would not be found.
  const hidden = mapTexts(report, (text) => maskSecrets(text, secrets));
  const write = async (name: string, text: string) => {
    await store.write(name, oneChunk(text), { overwrite: true });
  };
  await write(page, await reportPage(hidden));
  // Last, since the status looks for it.
  await write(json, `${JSON.stringify(hidden, null, 2)}\n`);
  return { json: join(place, json), page: join(place, page) };
}
