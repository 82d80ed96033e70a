import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { DrillStatus } from "./service-status.ts";

const largestReport = 16 * 1024 ** 2;
/** Weekly ones of two years. */
const mostReports = 104;
/** Where several databases have one folder. */
const mostFiles = 4 * mostReports;

/**
 * What the reports of a database's drills say, the newest first: `drills/drill_*.json` below the
 * folder of the backups. A file that is no report is passed over, since its drill proves nothing.
 */
export async function readDrills(
  folder: string,
  database: string,
): Promise<readonly DrillStatus[]> {
  const place = join(folder, "drills");
  const names = await readdir(place).catch(() => []);
  const newest = names
    .filter((name) => /^drill_.*\.json$/.test(name))
    .sort()
    .reverse()
    .slice(0, mostFiles);
  const drills: DrillStatus[] = [];
  for (const name of newest) {
    if (drills.length === mostReports) break;
    const drill = await readReport(join(place, name), database);
    if (drill !== undefined) drills.push(drill);
  }
  return drills.sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
}

async function readReport(path: string, database: string): Promise<DrillStatus | undefined> {
  try {
    if ((await stat(path)).size > largestReport) return undefined;
    return drillOf(JSON.parse(await readFile(path, "utf8")), database);
  } catch {
    return undefined;
  }
}

function drillOf(document: unknown, database: string): DrillStatus | undefined {
  if (!isObject(document) || (document.database ?? database) !== database) return undefined;
  const { createdAt, startedAt, passed, backup, problem } = document;
  const rtoSeconds = document.rtoSeconds ?? (isObject(document.rto) ? document.rto.seconds : null);
  const at = [createdAt, startedAt].find(
    (time): time is string => typeof time === "string" && !Number.isNaN(Date.parse(time)),
  );
  if (at === undefined || typeof passed !== "boolean") return undefined;
  return {
    at: new Date(at).toISOString(),
    passed,
    rtoSeconds: typeof rtoSeconds === "number" && rtoSeconds >= 0 ? rtoSeconds : null,
    backup: textOf(isObject(backup) ? backup.id : backup),
    problem: textOf(problem),
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null;
}

function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}
