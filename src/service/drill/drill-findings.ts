import { totalsOf } from "../../backup/manifest.ts";
import type { OpenBackup } from "../../backup/open-backup.ts";
import type { RestorePlan, RestoreResult } from "../../backup/restore-types.ts";
import { AppError } from "../../errors.ts";
import { countWords, sizeWords, timeWords } from "../words.ts";
import { type Finding, type RunningCheck, rounded } from "./drill-checks.ts";
import type { DrilledBackup } from "./drill-report.ts";

export function foundFinding(backup: OpenBackup): Finding {
  const { id, name, store, createdAt, manifest } = backup;
  const age = createdAt === undefined ? undefined : (Date.now() - +createdAt) / 1000;
  const facts = [
    ...(age === undefined ? [] : [`${timeWords(Math.round(age))} old`]),
    ...(manifest === undefined ? [] : [sizeWords(totalsOf(manifest).storedBytes)]),
  ];
  return { message: `${id ?? name} in ${store.place}${facts.map((one) => `, ${one}`).join("")}` };
}

export function readFinding({ backup }: RestorePlan, { manifest }: OpenBackup): Finding {
  if (manifest === undefined) return { message: "read to its end; it has no manifest" };
  const { parts } = manifest;
  const [part] = parts;
  const layers = part === undefined ? "" : `, encryption ${part.encryption}`;
  return {
    message: `every byte is the manifest's and was read to its end: ${countWords(parts.length, "file")}, format ${backup.format}${layers}`,
  };
}

export function rowsFinding({ plan, rows, tables }: RestoreResult, running: RunningCheck): void {
  const told = `${countWords(rows ?? 0, "row")} of ${countWords(tables ?? 0, "table")}`;
  if (plan.backup.rows === null) {
    running.notChecked(`${told}; the backup does not say how many there were`);
  } else running.passed({ message: `${told}, each table as the manifest says` });
}

/** A report is read by its first line, which is to name the table. */
export function withFirstTable(error: unknown): unknown {
  if (!(error instanceof AppError) || error.code !== "rows-differ") return error;
  const { code, exitCode, message, hint, details, data } = error;
  const told = details[0] === undefined ? message : `${message}: ${details[0]}`;
  return new AppError(code, exitCode, told, {
    ...(hint === undefined ? {} : { hint }),
    details,
    data,
    cause: error,
  });
}

export function describe(backup: OpenBackup): DrilledBackup {
  const { id, name, store, createdAt, manifest } = backup;
  return {
    id: id ?? name,
    place: store.place,
    createdAt: createdAt?.toISOString() ?? null,
    database: manifest?.database ?? null,
    format: manifest?.format ?? null,
    encryption: manifest?.parts[0]?.encryption ?? null,
    storedBytes: manifest === undefined ? null : totalsOf(manifest).storedBytes,
    tables: manifest?.tables.length ?? null,
    rows: manifest === undefined ? null : totalsOf(manifest).rows,
  };
}

export function measuredAs(seconds: number | null, targetSeconds: number) {
  const kept = seconds === null ? null : seconds <= targetSeconds;
  return { seconds: seconds === null ? null : rounded(seconds), targetSeconds, kept };
}
