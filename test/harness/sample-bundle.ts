import { buffer } from "node:stream/consumers";
import zlib from "node:zlib";
import type { BundleHeader, BundleTable } from "../../src/bundle/format.ts";
import { type BundleLayout, type BundleSection, writeBundle } from "../../src/bundle/writer.ts";

/** How a bundle is stored; the name's ending says it. */
export const storedForms = ["jsonl", "jsonl.zst", "jsonl.gz", "json"] as const;
export type StoredForm = (typeof storedForms)[number];

export function layoutOf(form: StoredForm): BundleLayout {
  return form === "json" ? "json" : "jsonl";
}

/** The plain bytes of a bundle as this form stores them. */
export function compressed(form: StoredForm, plain: Uint8Array): Buffer {
  switch (form) {
    case "jsonl.zst": {
      const { ZSTD_c_checksumFlag } = zlib.constants;
      return zlib.zstdCompressSync(plain, { params: { [ZSTD_c_checksumFlag]: 1 } });
    }
    case "jsonl.gz":
      return zlib.gzipSync(plain);
    default:
      return Buffer.from(plain);
  }
}

export interface SampleTable {
  readonly name: string;
  /** Whole lines without line ends, as `row_to_json` prints them. */
  readonly rows: readonly string[];
}

/** The header of a bundle whose tables have an `id` and a `body`, neither of them checked much. */
export function sampleHeader(tables: readonly string[]): BundleHeader {
  return {
    format: 1,
    createdAt: "2026-01-02T03:04:05.678Z",
    tool: "pgtenant 0.0.0",
    tenant: { id: "1", slug: "acme", name: "Acme \u2028 \ufffd" },
    source: { server: "15.1", database: "db", snapshotLsn: "0/1", migrations: ["0001"] },
    profile: { name: "sample", version: 1 },
    selection: null,
    tables: tables.map(
      (name): BundleTable => ({
        name,
        columns: [
          { name: "id", type: "integer", nullable: false, encoding: "value" },
          { name: "body", type: "text", nullable: true, encoding: "value" },
        ],
        primaryKey: ["id"],
        ownedThrough: [],
        references: [],
        schema: {
          type: "object",
          properties: { id: { type: "integer" }, body: { type: ["string", "null"] } },
          required: ["id", "body"],
          additionalProperties: false,
        },
      }),
    ),
    leftOut: [],
  };
}

/** Writes a bundle as export does, its rows arriving in chunks of this size. */
export function writeSample(
  tables: readonly SampleTable[],
  layout: BundleLayout,
  chunk = 1 << 16,
): Promise<Buffer> {
  async function* sections(): AsyncGenerator<BundleSection> {
    for (const { name, rows } of tables) {
      const bytes = Buffer.from(rows.map((row) => `${row}\n`).join(""));
      async function* chunks(): AsyncGenerator<Uint8Array> {
        for (let at = 0; at < bytes.length; at += chunk) yield bytes.subarray(at, at + chunk);
      }
      yield { table: name, rows: chunks(), expectedRows: () => rows.length };
    }
  }
  const header = sampleHeader(tables.map((table) => table.name));
  return buffer(writeBundle(header, sections(), { layout, validate: true, maxRowBytes: 1 << 20 }));
}

/** A few tables, one of them empty, with texts that look like parts of a bundle. */
export const sampleTables: readonly SampleTable[] = [
  { name: "public.tenants", rows: ['{"id":1,"body":"acme"}'] },
  {
    name: "public.sites",
    rows: [
      '{"id":1,"body":"],"}',
      '{"id":2,"body":"{\\"$end\\":1}\\n{\\"$table\\":\\"x\\"}"}',
      '{"id":3,"body":null}',
      '{"id":4,"body":"\u2028 \ud83d\ude00 \ufffd"}',
    ],
  },
  { name: "public.empty", rows: [] },
  {
    name: 'app."Order ""Lines"" v1.2"',
    rows: Array.from({ length: 40 }, (_, n) => `{"id":${n},"body":"row ${"x".repeat(n)}"}`),
  },
  { name: "public.last", rows: [] },
];
