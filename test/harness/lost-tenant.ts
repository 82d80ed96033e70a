import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { Client } from "pg";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { digestOf } from "./digest.ts";
import { exportBundle } from "./tenant-bundle.ts";

/** A tenant that is gone from its database and whose bundle lies in a file. */
export interface LostTenant {
  readonly databaseUrl: string;
  readonly bundle: string;
  readonly rows: number;
  /** Deletes the tenant again, and sets the sequences back behind its ids. */
  lose(): Promise<void>;
  /**
   * Tells whether none or all of the tenant is there.
   *
   * @throws {AssertionError} when it is anything in between, when another row has changed, or
   *   when a sequence is behind the ids of its table
   */
  state(): Promise<"gone" | "whole">;
}

const slug = "acme";
const farGap = 1_000_000;

/**
 * Gives a tenant of the n-kudo fixtures more rows, exports and deletes it. Half of the rows are
 * audit events right behind the last id, half log lines far behind it: an import then draws the
 * values of one sequence and restarts the other.
 */
export async function loseTenant(
  databaseUrl: string,
  bundle: string,
  moreRows: number,
): Promise<LostTenant> {
  await query(databaseUrl, enlarge(Math.floor(moreRows / 2)));
  const { bytes, result } = await exportBundle(databaseUrl, slug);
  await writeFile(bundle, bytes);
  const whole = rowsOf(await digestOf(databaseUrl));
  const lose = async () => {
    await query(
      databaseUrl,
      `DELETE FROM tenants WHERE slug = '${slug}';
       SELECT setval('audit_events_id_seq', (SELECT max(id) FROM audit_events));
       SELECT setval('execution_logs_id_seq', (SELECT max(id) FROM execution_logs))`,
    );
  };
  await lose();
  const gone = rowsOf(await digestOf(databaseUrl));
  return Object.freeze({
    databaseUrl,
    bundle,
    rows: result.rows,
    lose,
    async state() {
      const now = rowsOf(await digestOf(databaseUrl));
      assert.ok(now === gone || now === whole, `neither none nor all of it is there:\n${now}`);
      const state = now === gone ? "gone" : "whole";
      await assertSequencesAhead(databaseUrl, state);
      return state;
    },
  });
}

/** The digests of the tables; sequences may move on. */
function rowsOf({ tables }: DatabaseDigest): string {
  return tables.map(({ table, rows, md5 }) => `${table} ${rows} ${md5}`).join("\n");
}

async function assertSequencesAhead(databaseUrl: string, state: string): Promise<void> {
  const [row] = await query<Record<string, boolean>>(
    databaseUrl,
    `SELECT (SELECT last_value FROM audit_events_id_seq) >= (SELECT max(id) FROM audit_events) AS audit,
            (SELECT last_value FROM execution_logs_id_seq) >= (SELECT max(id) FROM execution_logs) AS logs`,
  );
  assert.deepEqual(
    row,
    { audit: true, logs: true },
    `a sequence is behind, the tenant is ${state}`,
  );
}

function enlarge(rows: number): string {
  const copies = (table: string, changed: string) => `
    INSERT INTO ${table} SELECT (jsonb_populate_record(r, ${changed})).*
      FROM (SELECT r FROM ${table} AS r JOIN tenants AS t ON t.id = r.tenant_id
             WHERE t.slug = '${slug}' ORDER BY length(r::text) LIMIT 1) AS one (r),
           (SELECT max(id) AS last FROM ${table}) AS ids, generate_series(1, ${rows}) AS n`;
  return `
    ${copies("audit_events", "jsonb_build_object('id', last + n)")};
    ${copies("execution_logs", `jsonb_build_object('id', last + ${farGap} + n, 'sequence', ${farGap} + n)`)};
    VACUUM (ANALYZE) audit_events; VACUUM (ANALYZE) execution_logs`;
}

async function query<Row extends object>(databaseUrl: string, text: string): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    // Each statement in a transaction of its own, which VACUUM wants.
    let rows: Row[] = [];
    for (const statement of text.split(";")) ({ rows } = await client.query<Row>(statement));
    return rows;
  } finally {
    await client.end();
  }
}
