import { sql } from "kysely";
import { conjunction, disjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { oneWayColumns } from "../profile/classify.ts";
import type { PlanNote } from "./import-types.ts";
import { isInserted } from "./matching.ts";
import type { OpenSchema } from "./open-schema.ts";
import { noteRows } from "./plan-notes.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedTable } from "./staging.ts";

/**
 * The credentials of one table that come back valid, how many they are and each by its key:
 * those that no column says are revoked, or all with a secret where no column could say so.
 * Credentials that were revoked and then deleted cannot be told from those merely deleted.
 */
export async function noteCredentials(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  { expiring = false, cloning = false } = {},
): Promise<readonly PlanNote[]> {
  const { table, stage, present, secrets } = staged;
  if (secrets.length === 0) return [];
  const oneWay = oneWayColumns(schema, table.name).filter((column) => present.has(column));
  // What a clone drops fits nothing any more.
  const dropped = cloning ? (schema.profile.clone.drop[table.name] ?? []) : [];
  const kept = secrets.filter((column) => present.has(column) && !dropped.includes(column));
  const { valid, each, all } = oneWay.length > 0 ? revocable(oneWay) : lasting(kept, expiring);
  const notes = await noteRows(
    session,
    sql`SELECT ${rowKeyText("s", staged)} AS key FROM ${stage} AS s
         WHERE ${valid} AND ${isInserted(staged, "s")}`,
    {
      kind: "credentials",
      table: table.name,
      all,
      reason: () => each,
      others: "come back in the same way",
    },
  );
  // The keys of a clone are final only when it is written.
  return cloning ? notes.slice(0, 1) : notes;
}

function revocable(oneWay: readonly string[]) {
  const empty = `(${oneWay.join(", ")} empty)`;
  return {
    valid: conjunction(oneWay.map((column) => sql`${sql.id("s", column)} IS NULL`)),
    each: `comes back as a valid credential ${empty}`,
    all: (count: number) =>
      `${count} row(s) come back as valid credentials ${empty}; if any was revoked before it was deleted, revoke it again`,
  };
}

function lasting(secrets: readonly string[], expiring: boolean) {
  const as = `with ${secrets.join(", ")} as in the bundle`;
  const then = expiring
    ? ", so --expire-credentials cannot end them"
    : "; what was replaced or withdrawn before the row was deleted is valid again";
  return {
    valid: disjunction(
      secrets.map((column) => sql`nullif(${sql.id("s", column)}::text, '') IS NOT NULL`),
    ),
    each: `comes back ${as}`,
    all: (count: number) =>
      `${count} row(s) come back ${as}: this table has no column that says a credential is revoked${then}`,
  };
}
