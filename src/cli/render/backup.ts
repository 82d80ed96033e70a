import type { BackupResult } from "../../backup/backup.ts";
import { totalsOf } from "../../backup/manifest.ts";
import type { PruneResult } from "../../backup/prune.ts";
import { prunedDocument } from "./prune.ts";
import { count, counted, duration, size } from "./units.ts";

export function backupText(result: BackupResult, pruned: readonly PruneResult[]): string {
  const { manifest } = result;
  const { rows, storedBytes, rawBytes } = totalsOf(manifest);
  const [database] = manifest.parts;
  const layers = [
    manifest.format,
    ...(database === undefined || database.compression === "none" ? [] : [database.compression]),
    database === undefined || database.encryption === "none"
      ? "not encrypted"
      : `encrypted (${database.encryption})`,
  ];
  return [
    `backed up database "${manifest.database}" as ${result.id} in ${duration(manifest.durationSeconds)}`,
    `  ${counted(rows, "row")} of ${counted(manifest.tables.length, "table")}, counted in the dump's own snapshot`,
    `  ${size(storedBytes)} stored, ${size(rawBytes)} before compression; ${layers.join(", ")}`,
    ...manifest.parts.map((part) => `  ${part.name} (${size(part.bytes)})`),
    ...result.stored.map((place) => `  in ${place}`),
    ...pruned.flatMap(prunedLine),
  ].join("\n");
}

function prunedLine(pruned: PruneResult): readonly string[] {
  const { removed } = pruned;
  if (removed.length === 0) return [];
  return [
    `  removed from ${pruned.place}: ${count(removed.length)} older (${removed.map((one) => one.id).join(", ")})`,
  ];
}

export function backupDocument(result: BackupResult, pruned: readonly PruneResult[]) {
  const { id, manifest, stored, failed, warnings } = result;
  return {
    id,
    database: manifest.database,
    createdAt: manifest.createdAt,
    format: manifest.format,
    parts: manifest.parts,
    tables: manifest.tables,
    stored,
    failed: failed.map(({ place, error }) => ({
      place,
      error: { code: error.code, message: error.message, exitCode: error.exitCode },
    })),
    warnings,
    pruned: pruned.map(prunedDocument),
    seconds: manifest.durationSeconds,
  };
}
