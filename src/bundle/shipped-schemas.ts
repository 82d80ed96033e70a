import { existsSync, readdirSync, readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { JsonSchema } from "./format.ts";
import type { ShippedTable } from "./row-schema.ts";

/** `schemas/` lies beside `src/` in a checkout and beside `dist/` in the package. */
const folder = new URL("../../schemas/", import.meta.url);

export type DocumentKind =
  | "bundle-header"
  | "table-marker"
  | "table-end"
  | "bundle-trailer"
  | "profile"
  | "backup-manifest"
  | "drill-report"
  | "tenant-set";

export interface DocumentCheck {
  readonly valid: boolean;
  /** What is wrong, such as `/tenant/id must be string`; without values. */
  readonly problems: readonly string[];
}

const compiled = new Map<DocumentKind, ValidateFunction>();

/** Checks a parsed document against its schema in `schemas/`. */
export function checkDocument(kind: DocumentKind, document: unknown): DocumentCheck {
  let validate = compiled.get(kind);
  if (validate === undefined) {
    const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true, ownProperties: true });
    validate = ajv.compile(readSchema(`${kind}.schema.json`));
    compiled.set(kind, validate);
  }
  const valid = validate(document);
  const problems = (validate.errors ?? [])
    .slice(0, 20)
    .map((error) => `${error.instancePath || "the document"} ${error.message ?? "is invalid"}`);
  return { valid, problems };
}

/** The row schemas shipped for a profile version, by table; empty for profiles without any. */
export function shippedTables(profile: {
  readonly name: string;
  readonly version: number;
}): ReadonlyMap<string, ShippedTable> {
  if (!/^[a-z0-9-]+$/.test(profile.name)) return new Map();
  const tables = new URL(`${profile.name}/${profile.version}/`, folder);
  if (!existsSync(tables)) return new Map();
  return new Map(
    readdirSync(tables)
      .filter((file) => file.endsWith(".schema.json"))
      .map((file) => {
        const schema = readSchema(`${profile.name}/${profile.version}/${file}`);
        return [
          String(schema.title),
          { properties: schema.properties as ShippedTable["properties"] },
        ];
      }),
  );
}

function readSchema(path: string): JsonSchema {
  return JSON.parse(readFileSync(new URL(path, folder), "utf8")) as JsonSchema;
}
