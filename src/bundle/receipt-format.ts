import type { BundleTable } from "./format.ts";
import { closedRowSchema } from "./row-schema.ts";

/**
 * What an import did to a row. `referring`: nothing; the row was there, and points by a
 * reference that no constraint holds to one that was inserted.
 */
export const writtenActions = ["inserted", "updated", "relinked", "deleted", "referring"] as const;

/**
 * The last section of a receipt, a row for each row that was written. `key` is the JSON text of
 * the key's columns; `after` a hash of the row as the import left it, where it did.
 */
export const writtenTable: BundleTable = {
  name: "pgtenant.written",
  columns: [
    { name: "table", type: "text", nullable: false, encoding: "value" },
    { name: "key", type: "json", nullable: false, encoding: "text" },
    { name: "action", type: "text", nullable: false, encoding: "value" },
    { name: "after", type: "text", nullable: true, encoding: "value" },
  ],
  primaryKey: ["table", "key", "action"],
  ownedThrough: [],
  references: [],
  schema: closedRowSchema(
    new Map([
      ["table", { type: "string" }],
      ["key", { type: "string", contentMediaType: "application/json" }],
      ["action", { enum: writtenActions }],
      ["after", { type: ["string", "null"], maxLength: 64 }],
    ]),
  ),
};
