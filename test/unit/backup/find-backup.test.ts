import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { sidecarName } from "../../../src/backup/backup-name.ts";
import { findBackup } from "../../../src/backup/find-backup.ts";
import { AppError, ExitCode } from "../../../src/errors.ts";
import { pendingOf, putBackup, verificationOf } from "../../harness/backup-entries.ts";
import { memoryStore } from "../../harness/memory-store.ts";

const now = new Date("2026-03-15T12:00:00Z");
const older = "backup_20260310_020000";
const newer = "backup_20260312_020000";
const options = { database: "nkudo", now };

suite("a backup that is asked for", () => {
  test("as latest is the newest good one of all places", async () => {
    const [local, s3] = [memoryStore("/b"), memoryStore("s3://bucket", "s3")];
    putBackup(local, older);
    putBackup(s3, newer);
    const found = await findBackup([local, s3], "latest", options);
    assert.equal(found.entry.id, newer);
    assert.equal(found.store, s3);
    assert.deepEqual(found.warnings, []);
  });

  test("as latest is taken from the first place that has it", async () => {
    const [local, s3] = [memoryStore("/b"), memoryStore("s3://bucket", "s3")];
    putBackup(local, newer);
    putBackup(s3, newer);
    assert.equal((await findBackup([local, s3], "latest", options)).store, local);
    local.put(`${newer}.sql.gz`, "cut");
    const found = await findBackup([local, s3], "latest", options);
    assert.equal(found.store, s3);
    assert.deepEqual(found.warnings, [
      `"/b/${newer}" was skipped: the file "${newer}.sql.gz" has 3 bytes instead of 8; its other copy is taken`,
    ]);
  });

  test("as latest is none that is damaged, failed, unfinished or of tomorrow, and each is named", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    putBackup(store, "backup_20260311_020000");
    store.put(sidecarName("backup_20260311_020000", "manifest"), "{");
    putBackup(store, newer);
    const failed = verificationOf(newer, { result: "failed", problem: "byte 7 is wrong" });
    store.put(sidecarName(newer, "verified"), JSON.stringify(failed));
    const running = pendingOf("backup_20260313_020000");
    store.put(sidecarName(running.id, "pending"), JSON.stringify(running));
    putBackup(store, "backup_20260316_120001");
    putBackup(store, "backup_20260314_020000", { database: "nkudo_test" });
    store.put("backup_20260314_030000.sql.gz", "foreign");
    const { entry, warnings } = await findBackup([store], "latest", options);
    assert.equal(entry.id, older);
    assert.deepEqual(
      warnings.map((warning) => warning.slice(0, 60)),
      [
        '"/b/backup_20260316_120001" was skipped: it is dated more th',
        '"/b/backup_20260313_020000" was skipped: begun 2026-03-13T02',
        '"/b/backup_20260312_020000" was skipped: the verification of',
        '"/b/backup_20260311_020000" was skipped: the manifest "/b/ba',
      ],
    );
  });

  test("as latest may be dated a little ahead of the clock", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    putBackup(store, "backup_20260316_110000");
    assert.equal((await findBackup([store], "latest", options)).entry.id, "backup_20260316_110000");
  });

  test("by its id or one of its files is that one, of whichever database", async () => {
    const store = memoryStore("/b");
    putBackup(store, older, { database: "another" });
    putBackup(store, newer);
    const byId = await findBackup([store], older, options);
    assert.deepEqual([byId.entry.id, byId.key, byId.entry.state], [older, undefined, "good"]);
    const byKey = await findBackup([store], `${older}.sql.gz`, options);
    assert.deepEqual([byKey.entry.id, byKey.key], [older, `${older}.sql.gz`]);
    const byManifest = await findBackup([store], `${older}.manifest.json`, options);
    assert.equal(byManifest.entry.id, older);
  });

  test("by its id is taken from a place where it is good", async () => {
    const [local, s3] = [memoryStore("/b"), memoryStore("s3://bucket", "s3")];
    putBackup(local, older);
    putBackup(s3, older);
    local.put(sidecarName(older, "manifest"), "{");
    assert.equal((await findBackup([local, s3], older, options)).store, s3);
  });

  test("by the name of a foreign file is that file", async () => {
    const key = "backup_20240101_120000.sql.gz.enc";
    const store = memoryStore("/b", "local", { [key]: "Salted__" });
    const found = await findBackup([store], key, options);
    assert.deepEqual([found.entry.state, found.key, found.warnings], ["foreign", key, []]);
  });

  test("by its id is given with a warning when its verification has failed", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    const failed = verificationOf(older, { result: "failed", problem: "byte 7 is wrong" });
    store.put(sidecarName(older, "verified"), JSON.stringify(failed));
    const { entry, warnings } = await findBackup([store], older, options);
    assert.equal(entry.state, "corrupt");
    assert.deepEqual(warnings, [
      `"/b/${older}": the verification of 2026-03-10T02:00:00.000Z failed: byte 7 is wrong`,
    ]);
  });

  test("by its id is refused when parts of it are missing or its manifest is not whole: exit 3", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    store.objects.delete(`${older}.sql.gz`);
    await assert.rejects(findBackup([store], older, options), {
      code: "missing-parts",
      exitCode: 3,
      message: `the backup "/b/${older}" cannot be used: the file "${older}.sql.gz" is missing`,
    });
    putBackup(store, newer);
    store.put(sidecarName(newer, "manifest"), "{");
    await assert.rejects(findBackup([store], newer, options), {
      code: "unusable-backup",
      exitCode: 3,
    });
  });

  test("by its id is refused when its manifest says that it is of a newer version: exit 3", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    const key = sidecarName(older, "manifest");
    const text = store.objects.get(key)?.toString() ?? "";
    store.put(key, text.replace('"manifest": 1', '"manifest": 3'));
    await assert.rejects(findBackup([store], older, options), (error) => {
      assert.ok(error instanceof AppError);
      assert.equal(error.exitCode, ExitCode.invalidInput);
      assert.match(error.message, /has version 3, and this program knows version 1/);
      return true;
    });
  });

  test("and is nowhere: exit 2, with the newest that are there", async () => {
    const store = memoryStore("/b");
    putBackup(store, older);
    await assert.rejects(findBackup([store], newer, options), {
      code: "no-such-backup",
      exitCode: 2,
      message: `there is no backup "${newer}" in "/b"`,
      hint: `pgtenant list shows them all; the newest: ${older}.`,
    });
    await assert.rejects(findBackup([store], "latest", { database: "other", now }), {
      exitCode: 2,
      message: 'there is no good backup of database "other" in "/b"',
    });
    await assert.rejects(findBackup([store], "../../etc/passwd", options), { exitCode: 2 });
  });

  test("is found although another place cannot be reached, which is told", async () => {
    const down = memoryStore("s3://bucket", "s3");
    const unreachable = {
      ...down,
      // biome-ignore lint/correctness/useYield: it fails before the first object
      async *list() {
        throw new AppError("unreachable", ExitCode.storage, "no answer");
      },
    };
    const local = memoryStore("/b");
    putBackup(local, older);
    const found = await findBackup([unreachable, local], "latest", options);
    assert.equal(found.entry.id, older);
    assert.deepEqual(found.warnings, ["s3://bucket was not searched: no answer"]);
    await assert.rejects(findBackup([unreachable], older, options), { exitCode: 8 });
  });
});
