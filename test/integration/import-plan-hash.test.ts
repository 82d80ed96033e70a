import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pgtenant } from "../harness/command.ts";
import type { TestDatabase } from "../harness/database.ts";
import { edit, forge } from "../harness/forge.ts";
import { handMadeId, makeSite } from "../harness/hand-made.ts";
import {
  assertImportRefused,
  assertUnchanged,
  digestOf,
  freshBundle,
  type ImportChoice,
  importBytes,
  withDatabase,
} from "../harness/import.ts";

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const globex = "(SELECT id FROM tenants WHERE slug = 'globex')";

async function hashOf(database: TestDatabase, bundle: Uint8Array, choice: ImportChoice = {}) {
  const { plan } = await importBytes(database.url, bundle, { ...choice, dryRun: true });
  assert.match(plan.hash, /^[0-9a-f]{20}$/);
  return plan.hash;
}

/** An hour's work on the tenant, which a plan for a lost site and changed users has to do with. */
const damage = `
  DELETE FROM sites WHERE name = 'Spare 3' AND tenant_id = ${acme};
  UPDATE users SET display_name = 'changed' WHERE tenant_id = ${acme} AND role = 'ADMIN';`;

test("a plan's hash stays the same while rows change that the plan leaves alone", () =>
  withDatabase("plan-hash-same", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(damage);
    const choices = [{ mode: "missing" }, { mode: "overwrite" }] as const;
    for (const choice of [...choices, { mode: "overwrite", expireCredentials: true }] as const) {
      const hash = await hashOf(database, bundle, choice);
      assert.equal(await hashOf(database, bundle, choice), hash);
    }
    const hashes = await Promise.all(choices.map((choice) => hashOf(database, bundle, choice)));
    await makeSite(database, "New work");
    await database.query(`
      UPDATE users SET display_name = 'also changed' WHERE tenant_id = ${globex};
      SELECT nextval('audit_events_id_seq'), nextval('execution_logs_id_seq')`);
    const choice = choices[1];
    assert.deepEqual(
      [await hashOf(database, bundle), await hashOf(database, bundle, choice)],
      hashes,
    );
    const planHash = hashes[1];
    const { applied } = await importBytes(database.url, bundle, { ...choice, planHash });
    assert.equal(applied, true);
  }));

test("a row that stays as it is in mode missing may change, without another plan", () =>
  withDatabase("plan-hash-kept", async (database) => {
    const bundle = await freshBundle("acme");
    await database.query(damage);
    const planHash = await hashOf(database, bundle);
    const untouched = `tenant_id = ${acme} AND display_name <> 'changed'`;
    const changed = await database.query(
      `UPDATE users SET last_login_at = now() WHERE ${untouched} RETURNING id`,
    );
    assert.ok(changed.length > 0);
    const { plan, applied } = await importBytes(database.url, bundle, { planHash });
    assert.equal(plan.hash, planHash);
    assert.equal(applied, true);
  }));

const changes: readonly (readonly [string, ImportChoice, string])[] = [
  [
    "a row that it would overwrite",
    { mode: "overwrite" },
    `UPDATE users SET last_login_at = now() WHERE tenant_id = ${acme} AND display_name = 'changed'`,
  ],
  [
    "a row that it would insert, and that is there by now",
    {},
    `INSERT INTO api_keys SELECT * FROM lost`,
  ],
  [
    "a row that it would leave alone, and that is gone by now",
    {},
    `DELETE FROM api_keys WHERE tenant_id = ${acme}`,
  ],
  [
    "a row that it would delete",
    { mode: "replace" },
    `UPDATE api_keys SET last_used_at = now() WHERE id = '${handMadeId(1)}'`,
  ],
  [
    "a live row that would stand for one of the bundle's",
    { onCollision: "adopt" },
    `UPDATE sites SET external_key = 'new' WHERE id = '${handMadeId(2)}'`,
  ],
];

for (const [what, choice, sql] of changes) {
  test(`a plan is not applied after a change of ${what}`, () =>
    withDatabase("plan-hash-changed", async (database) => {
      const bundle = await freshBundle("acme");
      await database.query(`
        ${damage}
        CREATE TABLE public.lost AS SELECT * FROM api_keys WHERE tenant_id = ${acme} ORDER BY id LIMIT 1;
        DELETE FROM api_keys WHERE id IN (SELECT id FROM lost);
        INSERT INTO api_keys (id, tenant_id, name, key_hash) VALUES ('${handMadeId(1)}', ${acme}, 'new', 'new');
        INSERT INTO sites (id, tenant_id, name) VALUES ('${handMadeId(2)}', ${acme}, '${choice.onCollision === "adopt" ? "Spare 3" : "New"}')`);
      const options = { ...choice, acceptUnclassified: true };
      const planHash = await hashOf(database, bundle, options);
      await database.query(sql);
      const now = await hashOf(database, bundle, options);
      assert.notEqual(now, planHash);
      const error = await assertImportRefused(
        database,
        bundle,
        { ...options, planHash },
        {
          exitCode: 4,
          message: /^this is not the plan "[0-9a-f]{20}" any more, .*; nothing was written$/,
          hint: /--dry-run/,
        },
      );
      assert.equal(error.code, "plan-changed");
      assert.deepEqual(error.data, { wanted: planHash, hash: now });
      const { applied } = await importBytes(database.url, bundle, { ...options, planHash: now });
      assert.equal(applied, true);
    }));
}

test("other flags and another bundle make another plan, whether or not its rows are others", () =>
  withDatabase("plan-hash-flags", async (database) => {
    const bundle = await freshBundle("acme");
    const other = await forge(bundle, { rows: { users: edit({ display_name: "x" }) } });
    const hashes = [
      await hashOf(database, bundle),
      await hashOf(database, other),
      await hashOf(database, bundle, { mode: "overwrite" }),
      await hashOf(database, bundle, { keepInFlight: false }),
      await hashOf(database, bundle, { expireCredentials: true }),
      await hashOf(database, bundle, { onCollision: "skip" }),
      await hashOf(database, bundle, { disableTriggers: true }),
    ];
    assert.equal(new Set(hashes).size, hashes.length, hashes.join());
  }));

test("a dry run's last line applies that plan and no other, and needs --yes as ever", () =>
  withDatabase("plan-hash-command", async (database) => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      const path = join(folder, "acme.jsonl");
      await writeFile(path, await freshBundle("acme"));
      await database.query(damage);
      const run = (...args: readonly string[]) => pgtenant(args, { url: database.url });
      const before = await digestOf(database);
      const dry = await run("import", path, "--mode", "overwrite", "--dry-run");
      assert.equal(dry.code, 0, dry.stderr);
      const printed = dry.stdout.toString();
      const [, hash = ""] = /^hash of this plan: ([0-9a-f]{20})$/m.exec(printed) ?? [];
      assert.ok(
        printed.includes(
          `to apply it: pgtenant import ${path} --mode overwrite --plan ${hash} --yes\n`,
        ),
        printed,
      );
      const json = await run("import", path, "--mode", "overwrite", "--dry-run", "--json");
      const { plan } = JSON.parse(json.stdout.toString()) as { plan: { hash: string } };
      assert.equal(plan.hash, hash);
      const unconfirmed = await run("import", path, "--mode", "overwrite", "--plan", hash);
      assert.equal(unconfirmed.code, 4);
      assert.match(unconfirmed.stderr, /add --yes/);
      const wrong = await run("import", path, "--mode", "missing", "--plan", hash, "--yes");
      assert.equal(wrong.code, 4);
      assert.match(wrong.stderr, /is not the plan/);
      await assertUnchanged(database, before);
      const args = ["import", path, "--mode", "overwrite", "--plan", hash, "--yes"];
      const done = await run(...args);
      assert.equal(done.code, 0, done.stderr);
      const twice = await run(...args);
      assert.equal(twice.code, 4, "what is done already is another plan");
    } finally {
      await rm(folder, { recursive: true });
    }
  }));
