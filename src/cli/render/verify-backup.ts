import { totalsOf } from "../../backup/manifest.ts";
import type { VerifiedBackup } from "../../backup/verify-backup.ts";
import { counted, duration, size } from "./units.ts";

export function verifiedText(found: VerifiedBackup, seconds: number, verbose: boolean): string {
  const { manifest } = found;
  const facts =
    manifest === undefined
      ? ["  there is no manifest, so nothing tells whether these are the bytes that were written"]
      : [
          `  of database "${manifest.database}", ${manifest.createdAt}; ${
            manifest.parts.length === 1
              ? "its file holds"
              : `its ${manifest.parts.length} files hold`
          } the bytes of the manifest`,
        ];
  return [
    found.checked === "all"
      ? `${found.name} is whole: decrypted, decompressed and read to its end in ${duration(seconds)}`
      : `${found.name}: the stored bytes are those of the manifest; nothing was decrypted (${duration(seconds)})`,
    ...facts,
    ...(verbose ? details(found) : []),
    ...found.notes.map((note) => `  note: ${note}`),
  ].join("\n");
}

function details({ manifest, parts, format, server }: VerifiedBackup): readonly string[] {
  const stored = new Map(manifest?.parts.map((part) => [part.name, part]));
  return [
    `  format ${format ?? "unknown"}${server === undefined ? "" : `, PostgreSQL ${server}`}`,
    ...parts.flatMap((part) => {
      const known = stored.get(part.name);
      const layers =
        known === undefined
          ? ""
          : ` (compression ${known.compression}, encryption ${known.encryption})`;
      return [
        `  ${part.kind}: ${part.name}${layers}`,
        ...(known === undefined
          ? []
          : [`    ${size(known.bytes)} stored, SHA-256 ${known.sha256}`]),
        `    ${part.rawBytes === null ? "" : `${size(part.rawBytes)}, `}${part.content}`,
      ];
    }),
    ...(manifest === undefined
      ? []
      : [
          `  made by ${manifest.tool} with pg_dump ${manifest.source.pgDump} in ${duration(manifest.durationSeconds)}`,
          `  snapshot at ${manifest.source.snapshotLsn}`,
          ...(manifest.keyIds.length === 0
            ? []
            : [`  can be read with: ${manifest.keyIds.join(", ")}`]),
          `  ${counted(totalsOf(manifest).rows, "row")} of ${counted(manifest.tables.length, "table")}:`,
          ...manifest.tables.map((table) => `    ${table.table}: ${table.rows}`),
        ]),
  ];
}

export function verifiedDocument(found: VerifiedBackup) {
  const { name, place, manifest, checked, format, server, parts, notes } = found;
  return {
    valid: true,
    name,
    place,
    id: manifest?.id ?? null,
    database: manifest?.database ?? null,
    createdAt: manifest?.createdAt ?? null,
    checked,
    format: format ?? null,
    server: server ?? null,
    parts,
    tables: manifest?.tables ?? null,
    notes,
  };
}
