import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { backupIdAt, timeOfId } from "../../../src/backup/backup-name.ts";
import { newBackupId } from "../../../src/backup/new-id.ts";

const now = new Date("2026-03-15T12:00:00.700Z");

suite("the id of a new backup", () => {
  test("is the second of its beginning, in UTC", () => {
    assert.deepEqual(newBackupId([], now), { id: "backup_20260315_120000", warning: undefined });
  });

  test("lies behind the newest one when two begin in the same second, or the clock was set back", () => {
    assert.equal(newBackupId(["backup_20260315_120000"], now).id, "backup_20260315_120001");
    assert.equal(newBackupId(["backup_20260315_130000"], now).id, "backup_20260315_130001");
    assert.equal(newBackupId(["backup_20260316_120000"], now).id, "backup_20260316_120001");
  });

  test("is not drawn into the future by a backup that was made with a wrong clock", () => {
    const far = "backup_20270315_120000";
    const { id, warning } = newBackupId([far, "backup_20260315_120004"], now);
    assert.equal(id, "backup_20260315_120005");
    assert.equal(
      warning,
      `"${far}" is dated more than a day ahead of this machine's clock (${now.toISOString()}); one of the two is wrong`,
    );
  });

  test("is unlike every other and, without a wrong clock, behind every other", () => {
    const offset = fc.oneof(
      fc.integer({ min: -5, max: 5 }),
      fc.integer({ min: -90_000, max: 90_000 }),
      fc.integer({ min: -1e8, max: 1e8 }),
    );
    fc.assert(
      fc.property(fc.array(offset, { maxLength: 30 }), (offsets) => {
        const ids = offsets.map((seconds) => backupIdAt(new Date(+now + seconds * 1000)));
        const { id, warning } = newBackupId(ids, now);
        assert.ok(timeOfId(id) !== undefined);
        assert.ok(!ids.includes(id));
        assert.ok(id >= backupIdAt(now));
        if (warning === undefined) assert.ok(ids.every((other) => other < id));
      }),
    );
  });

  test("takes any number of existing ones", () => {
    const ids = Array.from({ length: 200_000 }, (_, n) => backupIdAt(new Date(+now - n * 1000)));
    assert.equal(newBackupId(ids, now).id, "backup_20260315_120001");
  });
});
