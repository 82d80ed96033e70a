import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { TestDatabase } from "./database.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Asserts that each event of all tenants links to the one before it. */
export async function assertChain(database: TestDatabase): Promise<void> {
  const broken = await database.query(`
    SELECT id FROM (
      SELECT id, prev_hash, lag(entry_hash, 1, repeat('0', 64)) OVER (ORDER BY id) AS before
        FROM audit_events) AS e
     WHERE prev_hash <> before`);
  assert.deepEqual(broken, []);
}

interface StoredEvent {
  readonly [column: string]: string | boolean | null;
}

/** Asserts that the hashes of these events are N-Kudo's of the rows as they are stored. */
export async function assertHashes(database: TestDatabase, where: string): Promise<number> {
  const rows = await database.query<StoredEvent>(`
    SELECT tenant_id, site_id, actor_type, actor_user_id, actor_agent_id, action, resource_type,
           resource_id, nullif(request_id, '') AS request_id,
           CASE WHEN family(source_ip) IS NOT NULL THEN abbrev(source_ip) END AS source_ip,
           translate(encode(convert_to(metadata_json::text, 'UTF8'), 'base64'), E'\\n', '') AS metadata_json,
           regexp_replace(to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US'), '\\.?0+$', '') || 'Z'
             AS occurred_at,
           prev_hash, chain_valid, entry_hash
      FROM audit_events WHERE ${where} ORDER BY id`);
  for (const { entry_hash: hash, ...event } of rows) {
    const present = Object.fromEntries(Object.entries(event).filter(([, value]) => value !== null));
    const json = JSON.stringify(present)
      .replaceAll("<", "\\u003c")
      .replaceAll(">", "\\u003e")
      .replaceAll("&", "\\u0026")
      .replaceAll("\u2028", "\\u2028")
      .replaceAll("\u2029", "\\u2029");
    assert.equal(createHash("sha256").update(json).digest("hex"), hash, json);
  }
  return rows.length;
}

/** Runs a statement on another connection, and returns when it is committed. */
export function commitElsewhere(database: TestDatabase, statement: string): void {
  const program = `
    import { Client } from "pg";
    const client = new Client({ connectionString: ${JSON.stringify(database.url)} });
    await client.connect();
    await client.query(${JSON.stringify(statement)});
    await client.end();`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    cwd: root,
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
}

/** An event of another tenant that links to the last. */
export const anotherEvent = `
  INSERT INTO audit_events (tenant_id, actor_type, action, resource_type, resource_id, prev_hash, entry_hash)
  SELECT (SELECT id FROM tenants WHERE slug = 'globex'), 'SYSTEM', 'live.work', 'tenant', 'x', entry_hash,
         encode(sha256(random()::text::bytea), 'hex')
    FROM audit_events AS e ORDER BY e.id DESC LIMIT 1`;
