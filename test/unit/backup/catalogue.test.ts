import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { sidecarName } from "../../../src/backup/backup-name.ts";
import { backupIds, newestGood, readCatalogue } from "../../../src/backup/catalogue.ts";
import { type BackupManifest, manifestText } from "../../../src/backup/manifest.ts";
import {
  manifestOf,
  pendingOf,
  pinOf,
  putBackup,
  verificationOf,
} from "../../harness/backup-entries.ts";
import { type MemoryStore, memoryStore } from "../../harness/memory-store.ts";

const now = new Date("2026-03-15T12:00:00Z");
const id = "backup_20260310_020000";

async function only(store: MemoryStore, database = "nkudo") {
  const { entries } = await readCatalogue(store, { database, now });
  assert.equal(entries.length, 1, JSON.stringify(entries));
  const [entry] = entries;
  assert.ok(entry !== undefined);
  return entry;
}

function putJson(store: MemoryStore, key: string, value: unknown): void {
  store.put(key, JSON.stringify(value));
}

suite("a catalogue", () => {
  test("of an empty store is empty", async () => {
    assert.deepEqual((await readCatalogue(memoryStore(), { now })).entries, []);
  });

  test("has a whole backup as good, with everything that lies beside it", async () => {
    const store = memoryStore();
    const manifest = putBackup(store, id);
    putJson(store, sidecarName(id, "verified"), verificationOf(id));
    putJson(store, sidecarName(id, "pinned"), pinOf(id));
    const entry = await only(store);
    assert.equal(entry.state, "good");
    assert.equal(entry.problem, undefined);
    assert.deepEqual(entry.manifest, manifest);
    assert.equal(entry.database, "nkudo");
    assert.deepEqual(entry.verified, verificationOf(id));
    assert.deepEqual(entry.pinned, pinOf(id));
    assert.deepEqual([...entry.keys].sort(), [...store.objects.keys()].sort());
    const bytes = [...store.objects.values()].reduce((sum, object) => sum + object.length, 0);
    assert.equal(entry.bytes, bytes);
  });

  test("stands in the order of ids, the newest first, whatever the manifests' times say", async () => {
    const store = memoryStore();
    putBackup(store, "backup_20260310_020000", { createdAt: "2026-03-10T02:00:00Z" });
    putBackup(store, "backup_20260310_020001", { createdAt: "2026-03-10T01:00:00Z" });
    const { entries } = await readCatalogue(store, { now });
    assert.deepEqual(
      entries.map((entry) => entry.id),
      ["backup_20260310_020001", "backup_20260310_020000"],
    );
  });

  test("names the part that a manifest has and the store has not", async () => {
    const store = memoryStore();
    const manifest = putBackup(store, id);
    store.objects.delete(manifest.parts[1]?.name ?? "");
    const entry = await only(store);
    assert.equal(entry.state, "missing-parts");
    assert.equal(entry.problem, `the file "${id}.globals.sql.gz" is missing`);
    assert.equal(newestGood({ store, entries: [entry] }, now), undefined);
  });

  test("names the part that has another size than the manifest says", async () => {
    const store = memoryStore();
    putBackup(store, id);
    store.put(`${id}.sql.gz`, "cut");
    const entry = await only(store);
    assert.equal(entry.state, "missing-parts");
    assert.equal(entry.problem, `the file "${id}.sql.gz" has 3 bytes instead of 8`);
  });

  test("names the data that has no manifest, with its beginning", async () => {
    const store = memoryStore();
    store.put(`${id}.sql.gz`, "half");
    putJson(store, sidecarName(id, "pending"), pendingOf(id));
    const entry = await only(store);
    assert.equal(entry.state, "incomplete");
    assert.equal(
      entry.problem,
      "begun 2026-03-10T02:00:00.000Z by process 123 on db1 and not completed",
    );
    assert.deepEqual(entry.keys, [`${id}.sql.gz`, `${id}.pending.json`]);
  });

  test("takes a run that began less than a day ago for one that may be running", async () => {
    for (const [startedAt, state] of [
      ["2026-03-14T12:00:00Z", "pending"],
      ["2026-03-14T11:59:59Z", "incomplete"],
      ["2027-01-01T00:00:00Z", "pending"],
    ] as const) {
      const store = memoryStore();
      putJson(store, sidecarName(id, "pending"), pendingOf(id, { startedAt }));
      assert.equal((await only(store)).state, state, startedAt);
    }
  });

  test("has the files of the guide's own script as foreign", async () => {
    const store = memoryStore("/b", "local", { "backup_20240101_120000.sql.gz": "dump" });
    const entry = await only(store);
    assert.equal(entry.state, "foreign");
    assert.equal(entry.problem, "no manifest names it");
    assert.deepEqual(entry.keys, ["backup_20240101_120000.sql.gz"]);
    assert.equal(entry.database, undefined);
  });

  test("counts nothing to a backup that its manifest does not name", async () => {
    const store = memoryStore();
    putBackup(store, id);
    store.put(`${id}.sql.gz.bak`, "a copy by hand");
    const { entries } = await readCatalogue(store, { database: "nkudo", now });
    assert.deepEqual(
      entries.map(({ state, keys }) => [state, keys.includes(`${id}.sql.gz.bak`)]),
      [
        ["good", false],
        ["foreign", true],
      ],
    );
  });

  test("counts nothing to an unfinished backup that begins with another id", async () => {
    const store = memoryStore();
    const other = "backup_20260311_020000";
    const manifest = putBackup(store, other);
    const parts = [manifest.parts[0]?.name ?? "", `${other}.manifest.json`, "journal.jsonl"];
    putJson(store, sidecarName(id, "pending"), pendingOf(id, { parts }));
    store.put("journal.jsonl", "{}");
    const { entries } = await readCatalogue(store, { database: "nkudo", now });
    assert.deepEqual(
      entries.map(({ state }) => state),
      ["good", "incomplete"],
    );
    assert.deepEqual(entries[1]?.keys, [`${id}.pending.json`]);
  });

  test("has another database's backups as such, also one whose name only begins alike", async () => {
    for (const database of ["nkudo_test", "nkud", "NKUDO"]) {
      const store = memoryStore();
      putBackup(store, id, { database });
      assert.equal((await only(store)).state, "other-database", database);
      assert.equal((await readCatalogue(store, { now })).entries[0]?.state, "good");
    }
    const store = memoryStore();
    putJson(store, sidecarName(id, "pending"), pendingOf(id, { database: "nkudo_test" }));
    assert.equal((await only(store)).state, "other-database");
  });

  test("passes over everything that is not named like a backup", async () => {
    const store = memoryStore("/b", "local", {
      "backup_20261301_020000.sql": "no month 13",
      "backup_latest.sql.gz": "no time",
      "backup_20260310_020000x.sql": "no id",
      [`tenants/${id}.sql.gz`]: "below",
      "journal.jsonl": "",
    });
    assert.deepEqual((await readCatalogue(store, { now })).entries, []);
    assert.deepEqual([...(await backupIds(store))], []);
  });

  const text = manifestText(manifestOf(id));
  const damaged: readonly (readonly [what: string, text: string, known: boolean])[] = [
    ["cut short", text.slice(0, -40), false],
    ["empty", "", false],
    ["no object", "[]", false],
    ["altered", text.replace('"rawBytes": 100', '"rawBytes": 101'), true],
    ["without parts", text.replace('"parts"', '"Parts"'), true],
    ["another backup's", manifestText(manifestOf("backup_20260309_020000")), false],
    ["naming others' files", manifestText(namingOthers()), true],
  ];
  for (const [what, content, known] of damaged) {
    test(`has a backup as corrupt whose manifest is ${what}, beside the good ones`, async () => {
      const store = memoryStore();
      putBackup(store, id);
      store.put(sidecarName(id, "manifest"), content);
      putBackup(store, "backup_20260309_020000");
      const { entries } = await readCatalogue(store, { database: "nkudo", now });
      const [corrupt] = entries.filter((entry) => entry.id === id);
      assert.equal(corrupt?.state, "corrupt");
      assert.equal(corrupt?.database, known ? "nkudo" : undefined);
      assert.match(corrupt?.problem ?? "", /manifest/);
      assert.ok(corrupt?.keys.every((key) => key.startsWith(id)));
      const good = newestGood({ store, entries }, now);
      assert.equal(good?.id, "backup_20260309_020000");
    });
  }

  function namingOthers(): BackupManifest {
    const other = manifestOf("backup_20260309_020000");
    return { ...manifestOf(id), parts: other.parts };
  }

  test("has a manifest that cannot be read as corrupt, and nobody's", async () => {
    const store = memoryStore();
    putBackup(store, id);
    store.unreadable.add(sidecarName(id, "manifest"));
    const { entries } = await readCatalogue(store, { database: "nkudo", now });
    assert.equal(entries[0]?.state, "corrupt");
    assert.equal(entries[0]?.database, undefined);
  });

  test("leaves what a newer version has made to that version", async () => {
    const store = memoryStore();
    putBackup(store, id);
    store.put(sidecarName(id, "manifest"), text.replace('"manifest": 1', '"manifest": 2'));
    const entry = await only(store);
    assert.equal(entry.state, "foreign");
    assert.match(entry.problem ?? "", /has version 2, and this program knows version 1/);
    assert.equal(entry.keys.length, 3);
  });

  test("has a backup as corrupt whose verification failed, until a later one is good", async () => {
    const store = memoryStore();
    putBackup(store, id);
    const failed = verificationOf(id, { result: "failed", problem: "byte 7 is wrong" });
    putJson(store, sidecarName(id, "verified"), failed);
    const entry = await only(store);
    assert.equal(entry.state, "corrupt");
    assert.equal(
      entry.problem,
      "the verification of 2026-03-10T02:00:00.000Z failed: byte 7 is wrong",
    );
    assert.ok(entry.manifest !== undefined);
    putJson(store, sidecarName(id, "verified"), verificationOf(id));
    assert.equal((await only(store)).state, "good");
  });

  test("names a damaged file beside a good backup, and keeps a pin whose reason is lost", async () => {
    const store = memoryStore();
    putBackup(store, id);
    store.put(sidecarName(id, "verified"), "{");
    store.put(sidecarName(id, "pinned"), "x".repeat(2 * 1024 ** 2));
    const entry = await only(store);
    assert.equal(entry.state, "good");
    assert.equal(entry.verified, undefined);
    assert.equal(entry.pinned?.reason, "(the file that says why cannot be read)");
    assert.match(entry.problem ?? "", /verified\.json" is corrupt or cut short: it is no JSON/);
    assert.match(entry.problem ?? "", /pinned\.json" is larger than 1048576 bytes/);
  });

  test("of an unreadable pending file is nobody's, and has nothing but that file", async () => {
    const store = memoryStore();
    store.put(`${id}.sql.gz`, "half");
    store.put(sidecarName(id, "pending"), '{"pending":1}');
    const { entries } = await readCatalogue(store, { database: "nkudo", now });
    assert.deepEqual(
      entries.map(({ state, database, keys }) => ({ state, database, keys })),
      [
        { state: "incomplete", database: undefined, keys: [`${id}.pending.json`] },
        { state: "foreign", database: undefined, keys: [`${id}.sql.gz`] },
      ],
    );
  });

  test("is read eight manifests at a time", async () => {
    const store = memoryStore();
    for (let hour = 0; hour < 24; hour += 1) {
      putBackup(store, `backup_20260310_${String(hour).padStart(2, "0")}0000`);
    }
    const { entries } = await readCatalogue(store, { now });
    assert.equal(entries.length, 24);
    assert.ok(entries.every(({ state }) => state === "good"));
    assert.equal(store.mostReads, 8);
  });

  test("tells no age of what is dated in the future as the newest", async () => {
    const store = memoryStore();
    putBackup(store, id);
    putBackup(store, "backup_20270310_020000");
    const catalogue = await readCatalogue(store, { now });
    assert.equal(newestGood(catalogue, now)?.id, id);
  });
});
