import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { sidecarName } from "../../../src/backup/backup-name.ts";
import { readCatalogue } from "../../../src/backup/catalogue.ts";
import { pinBackup, unpinBackup } from "../../../src/backup/pin.ts";
import { prune, pruneAfterBackup, retentionWarnings } from "../../../src/backup/prune.ts";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { pendingOf, putBackup, verificationOf } from "../../harness/backup-entries.ts";
import { type MemoryStore, memoryStore } from "../../harness/memory-store.ts";

const now = new Date("2026-03-15T12:00:00Z");
const [old, middle, newest] = [
  "backup_20260110_020000",
  "backup_20260301_020000",
  "backup_20260315_020000",
] as const;
const options = { database: "nkudo", policy: { keepDays: 30 }, now };

function threeBackups(): MemoryStore {
  const store = memoryStore("/b");
  for (const id of [old, middle, newest]) putBackup(store, id);
  return store;
}

const keysOf = (store: MemoryStore) => [...store.objects.keys()].sort();
const startsWith = (id: string) => (key: string) => key.startsWith(id);

suite("prune", () => {
  test("removes what retention does not keep: manifest, parts, then what lies beside", async () => {
    const store = threeBackups();
    store.put(sidecarName(old, "verified"), JSON.stringify(verificationOf(old)));
    const verified = verificationOf(middle);
    store.put(sidecarName(middle, "verified"), JSON.stringify(verified));
    const result = await prune(store, options);
    assert.deepEqual(
      result.removed.map(({ id }) => id),
      [old],
    );
    assert.deepEqual(result.refused, []);
    assert.deepEqual(store.removals, [
      `${old}.manifest.json`,
      `${old}.sql.gz`,
      `${old}.globals.sql.gz`,
      `${old}.verified.json`,
      `${old}.pending.json`,
    ]);
    assert.deepEqual(keysOf(store).filter(startsWith(old)), []);
    assert.equal(keysOf(store).length, 7);
  });

  test("as a dry run removes nothing, and says for each backup why", async () => {
    const store = threeBackups();
    const before = keysOf(store);
    const result = await prune(store, { ...options, dryRun: true });
    assert.deepEqual(keysOf(store), before);
    assert.deepEqual(store.removals, []);
    assert.deepEqual(
      result.decisions.map(({ backup, keep }) => [backup.id, keep]),
      [
        [newest, true],
        [middle, true],
        [old, false],
      ],
    );
    assert.ok(result.decisions.every(({ reasons }) => reasons.length > 0));
    assert.deepEqual(
      result.removed.map(({ id }) => id),
      [old],
    );
  });

  test("touches no foreign file, no other database's backup and nothing of another name", async () => {
    const store = threeBackups();
    const foreign = {
      "backup_20240101_120000.sql.gz": "the guide's own",
      [`${old}.sql.gz.bak`]: "a copy by hand",
      "journal.jsonl": "{}",
      "tenants/acme/tenant_acme.jsonl.zst": "a bundle",
      "notes.txt": "notes",
    };
    for (const [key, text] of Object.entries(foreign)) store.put(key, text);
    const other = "backup_20260109_020000";
    putBackup(store, other, { database: "nkudo_test" });
    await prune(store, { ...options, policy: { keepLast: 1 } });
    const expected = [
      ...Object.keys(foreign),
      ...[newest, other].flatMap((id) => [
        `${id}.manifest.json`,
        `${id}.sql.gz`,
        `${id}.globals.sql.gz`,
      ]),
    ];
    assert.deepEqual(keysOf(store), expected.sort());
  });

  test("keeps a backup whole whose manifest is locked, says so, and goes on", async () => {
    const store = threeBackups();
    const locked = sidecarName(old, "manifest");
    store.locked.add(locked);
    const result = await prune(store, { ...options, policy: { keepLast: 1 } });
    assert.deepEqual(
      result.removed.map(({ id }) => id),
      [middle],
    );
    assert.deepEqual(result.refused, [
      {
        id: old,
        key: locked,
        code: "object-locked",
        message: `object-locked: "/b/${locked}"`,
      },
    ]);
    assert.deepEqual(keysOf(store).filter(startsWith(old)), [
      `${old}.globals.sql.gz`,
      `${old}.manifest.json`,
      `${old}.sql.gz`,
    ]);
    assert.deepEqual(retentionWarnings(result), [
      `${old} was not removed: object-locked: "/b/${locked}"`,
    ]);
  });

  test("comes back for a part that was locked when its manifest was not", async () => {
    const store = threeBackups();
    store.locked.add(`${old}.sql.gz`);
    const first = await prune(store, options);
    assert.deepEqual(first.removed, []);
    assert.deepEqual(keysOf(store).filter(startsWith(old)), [
      `${old}.pending.json`,
      `${old}.sql.gz`,
    ]);
    store.locked.clear();
    const second = await prune(store, options);
    assert.deepEqual(
      second.removed.map(({ id }) => id),
      [old],
    );
    assert.deepEqual(keysOf(store).filter(startsWith(old)), []);
  });

  for (const at of [1, 2, 3, 4]) {
    test(`that is killed after ${at} removals leaves nothing for ever`, async () => {
      const store = threeBackups();
      const killed = new Error("killed");
      let count = 0;
      const dying = {
        ...store,
        async remove(key: string) {
          if (count === at) throw killed;
          count += 1;
          await store.remove(key);
        },
      };
      if (at < 4) await assert.rejects(prune(dying, options), killed);
      else await prune(dying, options);
      const { entries } = await readCatalogue(store, options);
      assert.ok(entries.every(({ id, state }) => id !== old || state === "incomplete"));
      await prune(store, options);
      assert.deepEqual(keysOf(store).filter(startsWith(old)), []);
      assert.equal(keysOf(store).length, 6);
    });
  }

  test("collects what a killed backup has left, after a day", async () => {
    const store = threeBackups();
    const killed = "backup_20260314_115900";
    store.put(`${killed}.sql.gz`, "half");
    store.put(sidecarName(killed, "pending"), JSON.stringify(pendingOf(killed)));
    const early = new Date("2026-03-15T11:58:00Z");
    await prune(store, { ...options, now: early });
    assert.equal(keysOf(store).filter(startsWith(killed)).length, 2);
    const result = await prune(store, options);
    assert.ok(result.removed.some(({ id }) => id === killed));
    assert.deepEqual(keysOf(store).filter(startsWith(killed)), []);
    assert.deepEqual(store.removals.slice(-2), [
      `${killed}.sql.gz`,
      sidecarName(killed, "pending"),
    ]);
  });

  test("removes nothing of another backup that a forged pending file names", async () => {
    const store = threeBackups();
    const forged = "backup_20260301_020001";
    const parts = [`${newest}.sql.gz`, `${middle}.manifest.json`, "../../etc/passwd"];
    store.put(sidecarName(forged, "pending"), JSON.stringify(pendingOf(forged, { parts })));
    await prune(store, options);
    assert.deepEqual(store.removals.filter(startsWith(forged)), [`${forged}.pending.json`]);
    assert.ok(!store.removals.includes(`${newest}.sql.gz`));
    assert.ok(!store.removals.includes(`${middle}.manifest.json`));
    assert.ok(!store.removals.includes("../../etc/passwd"));
  });

  test("removes the pending file of a backup that is complete", async () => {
    const store = threeBackups();
    store.put(sidecarName(newest, "pending"), JSON.stringify(pendingOf(newest)));
    const result = await prune(store, options);
    assert.deepEqual(result.leftovers, [sidecarName(newest, "pending")]);
    assert.equal((await readCatalogue(store, options)).entries[0]?.state, "good");
  });

  test("with a policy that is empty or zero does nothing: exit 2", async () => {
    const store = threeBackups();
    for (const policy of [{}, { keepDays: 0 }, { keepLast: Number.NaN }]) {
      await assert.rejects(prune(store, { ...options, policy }), { exitCode: 2 });
    }
    assert.equal(keysOf(store).length, 9);
  });

  test("stops between two objects when it is interrupted", async () => {
    const store = threeBackups();
    const stop = new AbortController();
    const stopping = {
      ...store,
      async remove(key: string) {
        await store.remove(key);
        stop.abort();
      },
    };
    await assert.rejects(prune(stopping, { ...options, signal: stop.signal }), {
      name: "AbortError",
    });
    assert.deepEqual(store.removals, [sidecarName(old, "manifest")]);
  });

  test("works when nothing can be written", async () => {
    const store = threeBackups();
    const full = {
      ...store,
      async write(): Promise<never> {
        throw new AppError("disk-full", ExitCode.storage, "the disk is full");
      },
    };
    const result = await prune(full, options);
    assert.deepEqual(
      result.removed.map(({ id }) => id),
      [old],
    );
    assert.deepEqual(keysOf(store).filter(startsWith(old)), []);
  });

  test("after a backup looks only where that was stored, and fails nowhere", async () => {
    const [local, down, untouched] = [threeBackups(), memoryStore("s3://b", "s3"), threeBackups()];
    const broken = {
      ...down,
      // biome-ignore lint/correctness/useYield: it fails before the first object
      async *list() {
        throw new AppError("unreachable", ExitCode.storage, "no answer");
      },
    };
    const missed = { ...untouched, place: "s3://missed" };
    const stored = { stored: ["/b", "s3://b"] };
    const results = await pruneAfterBackup([local, broken, missed], stored, options);
    assert.deepEqual(
      results.map(({ place, removed }) => [place, removed.length]),
      [
        ["/b", 1],
        ["s3://b", 0],
      ],
    );
    assert.deepEqual(results.flatMap(retentionWarnings), [
      "retention did not run in s3://b: no answer",
    ]);
    assert.equal(keysOf(untouched).length, 9);
  });
});

suite("a pin", () => {
  test("keeps a backup from retention in every place, until it is taken away", async () => {
    const [local, s3] = [threeBackups(), threeBackups()];
    const change = await pinBackup([local, s3], old, { reason: "the migration", now });
    assert.equal(change.places.length, 2);
    for (const store of [local, s3]) {
      const { decisions } = await prune(store, options);
      assert.deepEqual(decisions.at(-1)?.reasons, ["pinned: the migration"]);
    }
    await unpinBackup([local, s3], old);
    assert.deepEqual(
      (await prune(s3, options)).removed.map(({ id }) => id),
      [old],
    );
  });

  test("needs a backup of ours: exit 2", async () => {
    const store = memoryStore("/b", "local", { [`${old}.sql.gz`]: "foreign" });
    const pin = (id: string) => pinBackup([store], id, { reason: "why", now });
    await assert.rejects(pin(newest), {
      exitCode: 2,
      message: `there is no backup "${newest}" in "/b"`,
    });
    await assert.rejects(pin(old), {
      exitCode: 2,
      message: `"${old}" was not written by pgtenant, so retention leaves it alone anyway`,
    });
    await assert.rejects(pin("../x"), {
      exitCode: 2,
      message: '"../x" is not the id of a backup',
    });
    assert.equal(store.objects.size, 1);
  });
});
