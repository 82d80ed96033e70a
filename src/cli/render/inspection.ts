import type { RedactedValues } from "../../bundle/format.ts";
import type { InspectedBundle } from "../../bundle/inspect.ts";
import { leftOutLines } from "./left-out.ts";
import { selectionText } from "./selection.ts";
import { textTable } from "./table.ts";
import { count, counted, size } from "./units.ts";

export function inspectionText(found: InspectedBundle): string {
  const { header } = found;
  const { tenant, source } = header;
  const facts: readonly (readonly [string, string])[] = [
    [
      "tenant",
      `${tenant.slug ?? "(no slug)"} (${tenant.id})${tenant.name === null ? "" : `, ${tenant.name}`}`,
    ],
    ["made at", `${header.createdAt} by ${header.tool}`],
    [
      "source",
      `database "${source.database}", PostgreSQL ${source.server}, WAL ${source.snapshotLsn}`,
    ],
    [
      "schema",
      `${migrationsText(source.migrations)}profile ${header.profile.name} ${header.profile.version}`,
    ],
    ["format", `${header.format}, ${found.layout}`],
    [
      "selection",
      header.selection === null ? "all of the tenant" : selectionText(header.selection),
    ],
    ...(header.receipt === undefined
      ? []
      : [
          [
            "receipt of",
            `the ${header.receipt.of} of ${header.receipt.source}, mode ${header.receipt.mode}; pgtenant undo takes it back`,
          ] as const,
        ]),
    ...(header.redacted === undefined
      ? []
      : [["redacted", redactedText(header.redacted)] as const]),
    [
      "size",
      `${counted(found.rows, "row")}, ${size(found.bytes)} of JSON, ${size(found.storedBytes)} as stored`,
    ],
  ];
  const tables = textTable(
    [{ title: "table" }, { title: "rows", align: "right" }, { title: "size", align: "right" }],
    found.tables.map((table) => [table.table, count(table.rows), size(table.bytes)]),
  );
  const leftOut = leftOutLines(header.leftOut);
  return [
    ...facts.map(([name, value]) => `${name.padEnd(10)} ${value}`),
    "",
    tables,
    ...(leftOut.length === 0 ? [] : ["", ...leftOut]),
    "",
    "every byte of it is as it was written; pgtenant verify also checks the rows",
  ].join("\n");
}

/** What was replaced in a bundle. */
export function redactedText({ personal, columns }: RedactedValues): string {
  return `secrets${personal ? ", and what names people and places," : ""} were replaced${
    columns === undefined ? "" : `: ${columns.join(", ")}`
  }`;
}

function migrationsText(migrations: readonly string[]): string {
  const last = migrations.at(-1);
  return last === undefined ? "" : `${counted(migrations.length, "migration")} up to ${last}, `;
}

/** For programs: the header without the rows' schemas, and the counts of each table. */
export function inspectionDocument(found: InspectedBundle) {
  const { tables: headerTables, ...header } = found.header;
  return {
    ...header,
    layout: found.layout,
    rows: found.rows,
    bytes: found.bytes,
    storedBytes: found.storedBytes,
    tables: headerTables.map(({ schema: _schema, ...table }, i) => ({
      ...table,
      rows: found.tables[i]?.rows ?? 0,
      bytes: found.tables[i]?.bytes ?? 0,
    })),
  };
}
