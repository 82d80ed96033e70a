import { sql } from "kysely";
import { conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { oneWayColumns } from "../profile/classify.ts";
import { valueError } from "./fence.ts";
import type { PlanNote } from "./import-types.ts";
import { isLive } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { noteRows } from "./plan-notes.ts";
import { rowKeyText } from "./row-key.ts";
import { literalOf } from "./set-values.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * Revokes, as of now, the credentials that come back and were still valid in the bundle.
 *
 * @returns each of them
 * @throws {AppError} exit 2 when the profile's value is not one of its column's type
 */
export async function expireCredentials(
  session: Session,
  schema: OpenSchema,
  bundle: StagedBundle,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  for (const staged of bundle.tables) {
    const now = expiryColumns(schema, staged);
    if (now.length === 0) continue;
    const { table, stage } = staged;
    const valid = oneWayColumns(schema, table.name).filter((c) => staged.present.has(c));
    const set = Object.entries(schema.profile.expire[table.name]?.set ?? {}).filter(([name]) =>
      staged.present.has(name),
    );
    const assignments = [
      ...now.map((name) => sql`${sql.id(name)} = now()`),
      ...set.map(([name, value]) => sql`${sql.id(name)} = ${literalOf(table, name, value)}`),
    ];
    try {
      notes.push(
        ...(await noteRows(
          session,
          sql`UPDATE ${stage} AS s SET ${sql.join(assignments)}
               WHERE ${conjunction(valid.map((c) => sql`${sql.id("s", c)} IS NULL`))}
                 AND NOT ${isLive(staged, "s")}
              RETURNING ${rowKeyText("s", staged)} AS key`,
          {
            kind: "expired",
            table: table.name,
            reason: () => `comes back revoked (${now.join(", ")} is the time of the import)`,
            others: "come back revoked",
          },
        )),
      );
    } catch (error) {
      throw valueError(error, schema, `"expire" of "${table.name}"`);
    }
  }
  return notes;
}

/** The columns that get the time at which a credential of this table is revoked. */
function expiryColumns(schema: OpenSchema, staged: StagedTable): readonly string[] {
  return (schema.profile.expire[staged.table.name]?.now ?? []).filter((c) => staged.present.has(c));
}
