import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { Client } from "pg";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import { createDatabase, serverUrl, type TestDatabase } from "../harness/database.ts";
import { backupForms, KilledBackups } from "../harness/kill-backup.ts";
import { KilledRestores, restoreForms } from "../harness/kill-restore.ts";
import { makeBackup, openMade, restoreMade } from "../harness/whole-database.ts";
import { withClient } from "../harness/whole-digest.ts";

const schema = `
  CREATE TABLE parents (id int PRIMARY KEY, name text);
  INSERT INTO parents SELECT g, 'parent ' || g FROM generate_series(1, 20) AS g;
  CREATE TABLE children (id serial PRIMARY KEY, parent int REFERENCES parents, note text);
  INSERT INTO children (parent, note) SELECT 1 + g % 20, repeat(md5(g::text), 20) FROM generate_series(1, 5000) AS g;`;
const otherRows = "DELETE FROM children WHERE id % 7 = 0; UPDATE parents SET name = 'old'";

suite("backups and restores that are killed with SIGKILL", () => {
  let source: TestDatabase;
  let live: TestDatabase;
  let folder: string;
  let keys: { readonly identity: string; readonly recipient: string };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    [source, live] = [await createDatabase("kill", "empty"), await createDatabase("live", "empty")];
    // Nobody may be connected to a database that is restored, or copied.
    await withClient(source.url, (client) => client.query(schema));
    await withClient(live.url, (client) => client.query(`${schema}; ${otherRows}`));
    keys = await generateKeyPair();
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await source.drop();
    await live.drop();
  });

  test("a backup leaves nothing behind that is taken for one, and the next one succeeds", async () => {
    const form = backupForms.find(({ format, s3 }) => format === "directory" && !s3);
    assert.ok(form !== undefined);
    const killed = new KilledBackups({ database: source, folder, keys, bucket: undefined });
    const length = await killed.measure(form);
    for (const share of [0.65, 0.9]) await killed.kill(form, share * length);
  });

  test("a restore has replaced nothing or all, and runs again at once", async () => {
    const identityFile = join(folder, "identity.txt");
    await writeFile(identityFile, `${keys.identity}\n`, { mode: 0o600 });
    const [, custom, , inPlace] = restoreForms(keys.recipient);
    const killed = new KilledRestores({ source, live: live.name, folder, identityFile });
    await killed.prepare();
    assert.ok(custom !== undefined && inPlace !== undefined);
    await killed.make(custom);
    await killed.make(inPlace);
    const length = await killed.measure(custom);
    for (const form of [custom, inPlace]) await killed.kill(form, 0.75 * length);
    await killed.conclude();
  });

  test("sessions that the server still has of a restore whose machine is gone are ended", async () => {
    const store = openLocalStore(join(folder, "backups"));
    const { id } = await makeBackup(source.url, [store]);
    const left = await Promise.all([
      leftSession(source.url, "BEGIN; LOCK TABLE parents"),
      leftSession(serverUrl(), markOf(source.name)),
    ]);
    const ofAnother = await leftSession(serverUrl(), markOf(live.name));
    // As a CREATE DATABASE that goes on without whoever wanted it.
    const atWork = left[1]?.query("SELECT pg_sleep(60)");
    const ended = assert.rejects(atWork ?? Promise.resolve(), { code: "57P01" });
    const { plan } = await restoreMade(source.url, await openMade(id, [store]), {
      mode: "in-place",
    });
    assert.deepEqual(plan.clients, []);
    await ended;
    for (const client of left) await assert.rejects(client.query("SELECT"));
    await ofAnother.query("SELECT");
    await ofAnother.end();
  });

  async function leftSession(url: string, sql: string): Promise<Client> {
    const named = new URL(url);
    named.searchParams.set("application_name", "pgtenant restore");
    const client = new Client({ connectionString: named.href });
    client.on("error", () => undefined); // it is going to be ended
    await client.connect();
    await client.query(sql);
    return client;
  }
});

/** Marks a session as the one of a restore of this database: "pgtr". */
function markOf(database: string): string {
  return `SELECT pg_advisory_lock(${0x70677472}, hashtext('${database}'))`;
}
