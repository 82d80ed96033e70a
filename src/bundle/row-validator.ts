import { isUtf8 } from "node:buffer";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import { AppError, ExitCode } from "../errors.ts";
import type { JsonSchema } from "./format.ts";
import { rowFormats } from "./formats.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Checks every line of a batch against a table's schema. */
export interface RowValidator {
  /**
   * @param firstRow number of the batch's first row in its table, from 1
   * @param visit called with every valid row
   * @returns the number of rows
   * @throws {AppError} exit 3, with table, row and column, never with a value
   */
  check(batch: Buffer, firstRow: number, visit?: (row: Row, number: number) => void): number;
}

const lineFeed = 0x0a;

export function createRowValidator(
  table: string,
  schema: JsonSchema,
  maxRowBytes: number,
): RowValidator {
  const validate = compileRowSchema(table, schema);
  return {
    check(batch, firstRow, visit) {
      let number = firstRow;
      const isText = isUtf8(batch);
      for (let start = 0; start < batch.length; number += 1) {
        const end = batch.indexOf(lineFeed, start);
        if (end < 0) throw invalidRow(table, number, "its line has no end");
        if (end + 1 - start > maxRowBytes) {
          throw invalidRow(table, number, `it is longer than ${maxRowBytes} bytes`, tooLongHint);
        }
        if (!isText && !isUtf8(batch.subarray(start, end))) {
          throw invalidRow(table, number, "it is not UTF-8");
        }
        const row = parseRow(table, number, batch.toString("utf8", start, end));
        if (!validate(row)) throw invalidRow(table, number, describe(validate.errors));
        visit?.(row as Row, number);
        start = end + 1;
      }
      return number - firstRow;
    },
  };
}

const tooLongHint = "Give a higher limit with --max-row-size, such as --max-row-size 256MiB.";

function parseRow(table: string, number: number, line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw invalidRow(table, number, "it is not JSON");
  }
}

function invalidRow(table: string, number: number, reason: string, hint?: string): AppError {
  return new AppError(
    "invalid-row",
    ExitCode.invalidInput,
    `row ${number} of table "${table}" is invalid: ${reason}`,
    {
      hint:
        hint ??
        "The row does not fit its table's schema. If this bundle was edited by hand, export it again.",
      data: { table, row: number },
    },
  );
}

function describe(errors: readonly ErrorObject[] | null | undefined): string {
  const [error] = errors ?? [];
  if (error === undefined) return "it does not match the schema";
  const column = error.instancePath.slice(1).replaceAll("~1", "/").replaceAll("~0", "~");
  switch (error.keyword) {
    case "required":
      return `column "${String(error.params.missingProperty)}" is missing`;
    case "additionalProperties":
      return `column "${String(error.params.additionalProperty)}" is not one of the table's`;
    case "type":
      return column === ""
        ? "it is not an object"
        : `column "${column}" must be ${[error.params.type].flat().join(" or ")}`;
    case "enum":
      return `column "${column}" is none of the allowed values`;
    default:
      return `column "${column}" ${error.message ?? "does not match the schema"}`;
  }
}

/** Only these may stand in a row schema that comes out of a bundle: no patterns, no references. */
const allowedKeywords = new Set([
  "$schema",
  "$id",
  "title",
  "description",
  "type",
  "properties",
  "required",
  "additionalProperties",
  "enum",
  "anyOf",
  "format",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "contentMediaType",
]);

const maxSchemaDepth = 6;

/**
 * Refuses a schema with anything but the keywords that row schemas are made of.
 *
 * @throws {AppError} exit 3
 */
export function requirePlainSchema(table: string, schema: unknown, depth = 0): void {
  const refuse = (reason: string): never => {
    throw new AppError(
      "invalid-embedded-schema",
      ExitCode.invalidInput,
      `the schema of table "${table}" in the bundle's header ${reason}`,
      { hint: "A bundle's own schemas are restricted, because a bundle may come from anywhere." },
    );
  };
  if (depth > maxSchemaDepth) refuse("is nested too deeply");
  if (typeof schema !== "object" || schema === null || Array.isArray(schema)) {
    refuse("is not an object");
  }
  for (const [keyword, value] of Object.entries(schema as Record<string, unknown>)) {
    if (!allowedKeywords.has(keyword)) refuse(`uses the keyword "${keyword}"`);
    if (keyword === "properties") {
      for (const property of Object.values((value ?? {}) as Record<string, unknown>)) {
        requirePlainSchema(table, property, depth + 1);
      }
    }
    if (keyword === "anyOf") {
      for (const branch of [value].flat()) requirePlainSchema(table, branch, depth + 1);
    }
    if (keyword === "additionalProperties" && typeof value !== "boolean") {
      refuse('has an "additionalProperties" that is not true or false');
    }
  }
}

let shared: Ajv2020 | undefined;

/**
 * What was compiled, by the schema's text: the bundles of a set have the same few schemas, and
 * compiling them takes longer than a small tenant's rows do.
 */
const compiled = new Map<string, ValidateFunction>();
const mostCompiled = 500;

/**
 * One instance for all, since each would compile the meta-schemas anew: 30 ms a table. Schemas
 * are compiled without their `$id`, so that none can stand in another's way.
 */
function rowAjv(): Ajv2020 {
  shared ??= new Ajv2020({
    // Strict number checks would refuse numeric values beyond a double's range, such as 1e400.
    strictNumbers: false,
    allowUnionTypes: true,
    strict: true,
    validateSchema: true,
    ownProperties: true,
    formats: rowFormats as Record<string, RegExp>,
  });
  return shared;
}

function compileRowSchema(table: string, schema: JsonSchema): ValidateFunction {
  const { $id: _, ...anonymous } = schema;
  const text = JSON.stringify(anonymous);
  const known = compiled.get(text);
  if (known !== undefined) return known;
  if (compiled.size >= mostCompiled) {
    // An instance keeps whatever it has compiled.
    compiled.clear();
    shared = undefined;
  }
  try {
    const validate = rowAjv().compile(anonymous);
    compiled.set(text, validate);
    return validate;
  } catch (cause) {
    throw new AppError(
      "invalid-embedded-schema",
      ExitCode.invalidInput,
      `the schema of table "${table}" cannot be used`,
      { cause, hint: "The header of the bundle was altered, or a newer tool wrote it." },
    );
  }
}
