import type { BundleHeader, BundleTable, LeftOut, TenantIdentity } from "../bundle/format.ts";
import { bundleColumns, rowSchemaOf } from "../bundle/row-schema.ts";
import type { ForeignKey } from "../catalog/catalog.ts";
import type { Session } from "../postgres/session.ts";
import { isOwned, keyOf, referencesOf } from "../profile/classify.ts";
import { toolVersion } from "../version.ts";
import type { Snapshot } from "./export.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { Redaction } from "./redaction.ts";

export interface Described {
  readonly snapshot: Snapshot;
  readonly tenant: TenantIdentity;
  readonly selection: BundleHeader["selection"];
  readonly redaction: Redaction | undefined;
}

/** What a bundle's first line says of it. */
export function bundleHeader(
  session: Session,
  schema: OpenSchema,
  { snapshot, tenant, selection, redaction }: Described,
): BundleHeader {
  const { tables, leftOut } = describeTables(schema);
  return {
    format: 1,
    createdAt: snapshot.createdAt,
    tool: `pgtenant ${toolVersion}`,
    tenant: redaction?.tenant ?? tenant,
    source: {
      server: session.serverVersion,
      database: session.database,
      snapshotLsn: snapshot.lsn,
      migrations: snapshot.migrations,
    },
    profile: { name: schema.profile.name, version: schema.profile.version },
    selection,
    tables,
    leftOut,
    ...(redaction === undefined
      ? {}
      : {
          redacted: {
            secrets: true as const,
            personal: redaction.personal,
            columns: redaction.columns,
          },
        }),
  };
}

/** What the headers of all tenants' bundles have in common. */
export interface TableDescriptions {
  readonly tables: readonly BundleTable[];
  readonly leftOut: readonly LeftOut[];
  readonly warnings: readonly string[];
}

const described = new WeakMap<OpenSchema, TableDescriptions>();

/** Made once for a schema, however many of its tenants are exported. */
export function describeTables(schema: OpenSchema): TableDescriptions {
  const known = described.get(schema);
  if (known !== undefined) return known;
  const warnings: string[] = [];
  const tables = schema.tables.map((table): BundleTable => {
    const row = rowSchemaOf(table, schema.shipped.get(table.name));
    for (const column of row.differing) {
      warnings.push(
        `column "${table.name}.${column}" has another type or nullability than the profile's schema says; the database's is used`,
      );
    }
    const chain = schema.profile.chain[table.name];
    return {
      name: table.name,
      columns: bundleColumns(table),
      primaryKey: keyOf(table),
      ownedThrough: (schema.ownership.get(table.name) ?? []).map(describeStep),
      references: referencesOf(schema, table.name)
        .filter((key) => key.source === "constraint" && isOwned(schema, key.to))
        .map((key) => ({ columns: key.columns, table: key.to, to: key.toColumns })),
      ...(chain === undefined ? {} : { chain }),
      schema: row.schema,
    };
  });
  const made = { tables, leftOut: leftOut(schema), warnings };
  described.set(schema, made);
  return made;
}

function leftOut(schema: OpenSchema): readonly LeftOut[] {
  const generated = schema.tables.flatMap((table) =>
    table.columns
      .filter((column) => column.generatedAs !== undefined)
      .map((column) => ({
        column: `${table.name}.${column.name}`,
        reason: "generated: the target database computes it",
      })),
  );
  const unclassified = schema.unclassified.map((table) => ({
    table,
    reason: "unclassified: neither a foreign key nor the profile says whose it is",
  }));
  return [...unclassified, ...generated];
}

function describeStep(step: ForeignKey): string {
  return `${step.columns.join(", ")} -> ${step.to} (${step.toColumns.join(", ")})`;
}
