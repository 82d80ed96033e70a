import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { TestDatabase } from "../harness/database.ts";
import { edit, forge } from "../harness/forge.ts";
import {
  assertImportRefused,
  deleteTenant,
  freshBundle,
  importBytes,
  withDatabase,
} from "../harness/import.ts";
import { withSmallSchema } from "../harness/small-schema.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const logs = "public.execution_logs_id_seq";
const audit = "public.audit_events_id_seq";

async function position(database: TestDatabase, sequence = logs): Promise<number> {
  const [row] = await database.query<{ last: string }>(
    `SELECT last_value AS last FROM ${sequence}`,
  );
  return Number(row?.last);
}

/** The id that the application's next log line gets. */
async function nextId(database: TestDatabase): Promise<number> {
  const [row] = await database.query<{ id: string }>(`
    INSERT INTO execution_logs (tenant_id, execution_id, sequence, severity, message, emitted_at)
    SELECT tenant_id, id, 4711, 'INFO', 'next', now() FROM executions
     WHERE tenant_id = (SELECT id FROM tenants WHERE slug = 'acme') LIMIT 1
    RETURNING id`);
  return Number(row?.id);
}

/** A number as it stands, however long. */
function bigNumber(text: string): unknown {
  return (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text);
}

/** Acme's bundle, its last log line with a higher id. */
async function withLastId(id: number): Promise<Buffer> {
  return await forge(await freshBundle("acme"), {
    rows: { execution_logs: (rows) => edit({ id }, (row) => row === rows.at(-1))(rows) },
  });
}

/** Both sequences start anew, as in a database that was seeded without these rows. */
async function loseRows(
  database: TestDatabase,
  increment = 1,
): Promise<{ readonly lastEvent: number }> {
  const [event] = await database.query<{ last: string }>(`
    SELECT max(e.id) AS last FROM audit_events e JOIN tenants t ON t.id = tenant_id
     WHERE slug = 'acme'`);
  await deleteTenant(database, "acme");
  await database.query(`
    DELETE FROM execution_logs;
    DELETE FROM audit_events;
    ALTER SEQUENCE ${logs} RESTART WITH ${increment < 0 ? -1 : 1};
    ALTER SEQUENCE ${audit} RESTART WITH 1`);
  return { lastEvent: Number(event?.last) };
}

test("sequences that stand ahead of the rows stay where they are", () =>
  withDatabase("sequences-ahead", async (database) => {
    await deleteTenant(database, "acme");
    await database.query(`SELECT setval('${logs}', 5000)`);
    const { plan } = await importBytes(database.url, await freshBundle("acme"));
    assert.deepEqual(plan.sequences, []);
    assert.equal(await position(database), 5000);
    assert.equal(await nextId(database), 5001);
  }));

for (const [size, last] of [
  ["small", 118],
  ["large", 9_007_199_254_740],
] as const) {
  test(`sequences behind the rows are moved on, over a ${size} gap`, () =>
    withDatabase("sequences-behind", async (database) => {
      const { lastEvent } = await loseRows(database);
      const bundle = await withLastId(last);
      const { plan } = await importBytes(database.url, bundle);
      assert.deepEqual(plan.sequences, [
        { sequence: audit, from: "0", to: String(lastEvent) },
        { sequence: logs, from: "0", to: String(last) },
      ]);
      assert.equal(await position(database), last);
      assert.equal(await position(database, audit), lastEvent);
      assert.equal(await nextId(database), last + 1);
      const again = await importBytes(database.url, bundle);
      assert.equal(again.applied, false);
      assert.equal(await position(database), last + 1);
    }));
}

test("a sequence that is behind is moved even when no row is missing", () =>
  withDatabase("sequences-only", async (database) => {
    await database.query(`SELECT setval('${logs}', 3)`);
    const result = await importBytes(database.url, await freshBundle("acme"));
    assert.equal(result.applied, true);
    assert.deepEqual(result.plan.sequences, [{ sequence: logs, from: "3", to: "118" }]);
    assert.equal(await position(database), 118);
  }));

test("a sequence with an increment of 10 is moved to or past the last id", () =>
  withDatabase("sequences-by-ten", async (database) => {
    await loseRows(database);
    await database.query(`ALTER SEQUENCE ${logs} INCREMENT BY 10`);
    await importBytes(database.url, await freshBundle("acme"));
    assert.equal(await position(database), 121);
    assert.equal(await nextId(database), 131);
  }));

for (const last of [-200, -9_007_199_254_740]) {
  test(`a descending sequence is moved down to ${last}`, () =>
    withDatabase("sequences-down", async (database) => {
      await database.query(
        `ALTER SEQUENCE ${logs} INCREMENT BY -1 MINVALUE -9223372036854775808 MAXVALUE -1 START -1 RESTART -1`,
      );
      await loseRows(database, -1);
      const bundle = await forge(await freshBundle("acme"), {
        rows: { execution_logs: (rows) => rows.map((row, n) => ({ ...row, id: -1 - n })) },
      });
      const lowest = await forge(bundle, { rows: { execution_logs: edit({ id: last }) } });
      await importBytes(database.url, lowest);
      assert.equal(await position(database), last);
      assert.equal(await nextId(database), last - 1);
    }));
}

test("ids past a sequence's end are refused, unless it stands there already", () =>
  withDatabase("sequences-end", async (database) => {
    await loseRows(database);
    await database.query(`ALTER SEQUENCE ${logs} INCREMENT BY 7 MAXVALUE 100`);
    const bundle = await freshBundle("acme");
    const error = await assertImportRefused(
      database,
      bundle,
      {},
      {
        exitCode: 4,
        message:
          /^a row of "public\.execution_logs" has an id \(id\) after which sequence "public\.execution_logs_id_seq" would have 0 values left, of 15 now; nothing was written$/,
        hint: /All tenants draw from it/,
      },
    );
    assert.equal(error.code, "sequence-used-up");
    await database.query(`SELECT setval('${logs}', 99)`);
    const { plan } = await importBytes(database.url, bundle);
    assert.deepEqual(
      plan.sequences.filter(({ sequence }) => sequence === logs),
      [],
    );
    assert.equal(await position(database), 99);
    const again = await importBytes(database.url, bundle);
    assert.equal(again.applied, false);
  }));

for (const id of ["9223372036854775807", "9223372036854000000", "9222000000000000000"]) {
  test(`one id of ${id} does not use up the sequence of all tenants`, () =>
    withDatabase("sequences-used-up", async (database) => {
      await deleteTenant(database, "acme");
      const bundle = await forge(await freshBundle("acme"), {
        rows: { execution_logs: edit({ id: bigNumber(id) }) },
      });
      await assertImportRefused(
        database,
        bundle,
        {},
        { exitCode: 4, message: /^a row of "public\.execution_logs" has an id .* values left/ },
      );
    }));
}

test("a row that is left as it is moves no sequence for a number that it does not have", () =>
  withSmallSchema(
    "sequences-kept",
    `CREATE TABLE tenants (id integer PRIMARY KEY, slug text UNIQUE);
     CREATE TABLE parts (id integer PRIMARY KEY, no numeric NOT NULL DEFAULT 0,
                         tenant_id integer NOT NULL REFERENCES tenants);
     CREATE SEQUENCE numbers OWNED BY parts.no;
     ALTER TABLE parts ALTER no SET DEFAULT nextval('numbers');
     INSERT INTO tenants VALUES (1, 'one');
     INSERT INTO parts VALUES (1, 77.5, 1), (2, 'NaN', 1)`,
    { root: { table: "public.tenants", key: "id", lookup: ["slug"] } },
    async ({ database, profile }) => {
      const { bytes } = await exportBundle(database.url, "one", { profile });
      await database.query("UPDATE parts SET no = 5 WHERE id = 1");
      const choice = { profile, mode: "missing" } as const;
      const kept = await importBytes(database.url, bytes, choice);
      assert.deepEqual(kept.plan.sequences, []);
      const back = await importBytes(database.url, bytes, { profile, mode: "overwrite" });
      assert.deepEqual(back.plan.sequences, [{ sequence: "public.numbers", from: "0", to: "77" }]);
    },
  ));

test("identity columns keep the ids of the bundle, and give free ones afterwards", () =>
  withDatabase("sequences-identity", async (database) => {
    const bundle = await freshBundle("acme");
    await deleteTenant(database, "acme");
    await database.query(`
      DELETE FROM tenants;
      ALTER TABLE execution_logs ALTER id DROP DEFAULT;
      DROP SEQUENCE ${logs};
      ALTER TABLE execution_logs ALTER id ADD GENERATED ALWAYS AS IDENTITY`);
    const { plan } = await importBytes(database.url, bundle);
    assert.ok(plan.sequences.some((move) => move.sequence === logs && move.to === "118"));
    const [row] = await database.query("SELECT min(id), max(id) FROM execution_logs");
    assert.deepEqual(row, { min: "1", max: "118" });
    assert.equal(await nextId(database), 119);
  }));

/** A role that may do what an application may: no ownership, no SELECT on sequences. */
async function asApplication(
  database: TestDatabase,
  use: (url: string) => Promise<void>,
): Promise<void> {
  const role = `app_${database.name}`;
  await database.query(`
    CREATE ROLE ${role} LOGIN PASSWORD 'app';
    GRANT USAGE ON SCHEMA public TO ${role};
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ${role};
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO ${role}`);
  const url = new URL(database.url);
  url.username = role;
  url.password = "app";
  try {
    await use(url.href);
  } finally {
    await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
}

test("a role with USAGE alone draws a large gap value by value", () =>
  withDatabase("sequences-usage", async (database) => {
    const { lastEvent } = await loseRows(database);
    await asApplication(database, async (url) => {
      await importBytes(url, await withLastId(250_000));
      assert.equal(await position(database), 250_000);
      assert.equal(await position(database, audit), lastEvent);
      assert.equal(await nextId(database), 250_001);
    });
  }));

test("a gap that can neither be restarted nor drawn is refused, with what to do", () =>
  withDatabase("sequences-too-far", async (database) => {
    await loseRows(database);
    await asApplication(database, async (url) => {
      await assert.rejects(importBytes(url, await withLastId(9_007_199_254_740)), {
        code: "sequence-behind",
        exitCode: 7,
        message:
          /^sequence "public\.execution_logs_id_seq" is \d+ values behind the rows and cannot be restarted: must be owner of .*; nothing was written$/,
        hint: /owner/,
      });
      const [row] = await database.query("SELECT count(*) FROM execution_logs");
      assert.deepEqual(row, { count: "0" });
    });
  }));

for (const last of [20_000, 9_007_199_254_740]) {
  test(`writers that draw meanwhile never get an id twice, over a gap to ${last}`, () =>
    withDatabase("sequences-race", async (database) => {
      await loseRows(database);
      const bundle = await withLastId(last);
      const drawn = new Set<string>();
      let running = true;
      const writers = Array.from({ length: 3 }, async () => {
        const client = await database.connect();
        while (running) {
          const { rows } = await client.query(`SELECT nextval('${logs}') AS id`);
          const { id } = rows[0] as { id: string };
          assert.ok(!drawn.has(id), `${id} was drawn twice`);
          drawn.add(id);
        }
      });
      await importBytes(database.url, bundle);
      const after = await nextId(database);
      running = false;
      await Promise.all(writers);
      assert.ok(drawn.size > 50);
      assert.ok(after > last);
      assert.ok((await position(database)) >= after);
    }));
}

test("a transaction that has drawn and stays open does not hold up a gap that can be drawn", () =>
  withDatabase("sequences-open", async (database) => {
    await loseRows(database);
    const client = await database.connect();
    await client.query(`BEGIN; SELECT nextval('${logs}')`);
    await importBytes(database.url, await withLastId(250_000));
    assert.equal(await position(database), 250_000);
    await client.query("ROLLBACK");
  }));

test("a sequence that passes the mark while its restart waits is not moved back", () =>
  withDatabase("sequences-passed", async (database) => {
    await loseRows(database);
    const last = 9_007_199_254_740;
    const bundle = await withLastId(last);
    const holder = await database.connect();
    await holder.query(`BEGIN; SELECT nextval('${logs}')`);
    const passed = (async () => {
      for (let waits = false; !waits; await setTimeout(10)) {
        const { rows } = await holder.query(
          `SELECT FROM pg_locks WHERE relation = '${logs}'::regclass AND NOT granted`,
        );
        waits = rows.length > 0;
      }
      await holder.query(`SELECT setval('${logs}', ${last + 1000}); COMMIT`);
    })();
    await importBytes(database.url, bundle);
    await passed;
    assert.equal(await nextId(database), last + 1001);
  }));

test("a sequence that must be restarted is waited for, with room for writers in between", () =>
  withDatabase("sequences-held", async (database) => {
    await loseRows(database);
    const bundle = await withLastId(9_007_199_254_740);
    const holder = await database.connect();
    await holder.query(`BEGIN; SELECT nextval('${logs}')`);
    const writer = await database.connect();
    let running = true;
    let slowest = 0;
    const writing = (async () => {
      while (running) {
        const begun = performance.now();
        await writer.query(`SELECT nextval('${logs}')`);
        slowest = Math.max(slowest, performance.now() - begun);
      }
    })();
    await assert.rejects(importBytes(database.url, bundle), {
      code: "lock-timeout",
      exitCode: 5,
      message: /cannot be restarted: .*lock timeout; nothing was written$/,
    });
    const released = setTimeout(1500).then(() => holder.query("ROLLBACK"));
    const { applied } = await importBytes(database.url, bundle);
    assert.equal(applied, true);
    await released;
    running = false;
    await writing;
    assert.ok(slowest < 5000, `a writer waited for ${slowest} ms`);
    assert.ok((await position(database)) >= 9_007_199_254_740);
  }));

const inventory = `
  CREATE SEQUENCE numbers; CREATE SEQUENCE tens; CREATE SEQUENCE plain;
  CREATE TABLE tenants (id integer PRIMARY KEY, slug text UNIQUE);
  CREATE TABLE invoices (
    no text PRIMARY KEY DEFAULT 'INV-' || nextval('numbers'),
    tenant_id integer NOT NULL REFERENCES tenants);
  CREATE TABLE lines (
    id bigint PRIMARY KEY DEFAULT nextval('tens') * 1000 + 7,
    tenant_id integer NOT NULL REFERENCES tenants);
  CREATE TABLE parts (
    id serial PRIMARY KEY,
    size smallint NOT NULL DEFAULT nextval('plain')::smallint,
    amount bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY,
    tenant_id integer NOT NULL REFERENCES tenants);
  INSERT INTO tenants VALUES (1, 'one');
  INSERT INTO invoices (tenant_id) SELECT 1 FROM generate_series(1, 3);
  INSERT INTO lines (tenant_id) SELECT 1 FROM generate_series(1, 3);
  INSERT INTO parts (tenant_id) SELECT 1 FROM generate_series(1, 3);`;

test("a sequence is left alone where a column's default makes something else of what it draws", () =>
  withSmallSchema(
    "sequences-made",
    inventory,
    { root: { table: "public.tenants", key: "id", lookup: ["slug"] } },
    async ({ database, profile }) => {
      const { bytes } = await exportBundle(database.url, "one", { profile });
      await database.query(`
        DELETE FROM parts; DELETE FROM lines; DELETE FROM invoices; DELETE FROM tenants;
        ALTER SEQUENCE numbers RESTART; ALTER SEQUENCE tens RESTART; ALTER SEQUENCE plain RESTART;
        ALTER SEQUENCE parts_id_seq RESTART; ALTER SEQUENCE parts_amount_seq RESTART`);
      const { applied, plan } = await importBytes(database.url, bytes, { profile });
      assert.equal(applied, true);
      assert.deepEqual(plan.sequences.map(({ sequence, to }) => `${sequence} ${to}`).sort(), [
        "public.parts_amount_seq 3",
        "public.parts_id_seq 3",
        "public.plain 3",
      ]);
      assert.equal(await position(database, "tens"), 1);
      assert.equal(await position(database, "numbers"), 1);
    },
  ));
