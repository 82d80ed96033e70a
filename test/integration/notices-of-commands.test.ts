import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { type NoticeServer, startNoticeServer } from "../harness/service.ts";

suite("notices of commands that cron runs", () => {
  let database: TestDatabase;
  let folder: string;
  let notices: NoticeServer;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    notices = await startNoticeServer();
    const seed = { settings: { "seed.big": "off" } };
    database = await createDatabase("notices", "n-kudo", seed);
  });
  after(async () => {
    notices.close();
    await rm(folder, { recursive: true });
    await database.drop();
  });

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}, url?: string) =>
    pgtenant(args, {
      url: url ?? database.url,
      env: {
        BACKUP_DIR: join(folder, "backups"),
        BACKUP_ON_SUCCESS_URL: notices.url,
        BACKUP_ON_FAILURE_URL: notices.url,
        ...env,
      },
    });

  test("tell of backups and their verification, done or failed, and of nothing else", async () => {
    const made = await run(["backup", "--json"]);
    assert.equal(made.code, 0, made.stderr);
    const { id, parts } = JSON.parse(made.stdout.toString()) as {
      readonly id: string;
      readonly parts: readonly { readonly bytes: number; readonly name: string }[];
    };
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    const [backup] = notices.bodies;
    assert.ok(Number(backup?.seconds) > 0);
    assert.deepEqual(
      { ...backup, seconds: 0 },
      {
        event: "success",
        job: "backup",
        database: database.name,
        slot: null,
        seconds: 0,
        id,
        bytes,
        error: null,
      },
    );
    assert.equal((await run(["verify", "latest"])).code, 0);
    assert.equal((await run(["export", "acme"])).code, 0);
    assert.equal((await run(["restore", "latest", "--dry-run"])).code, 0);
    assert.equal((await run(["prune", "--dry-run"])).code, 0);
    const bundles = await readdir(join(folder, "backups", "tenants", "acme"));
    const bundle = join(folder, "backups", "tenants", "acme", bundles[0] ?? "");
    assert.equal((await run(["verify", bundle])).code, 0);
    const part = join(folder, "backups", parts[0]?.name ?? "");
    const damaged = await readFile(part);
    damaged.writeUInt8(damaged.readUInt8(100) ^ 1, 100);
    await writeFile(part, damaged);
    assert.equal((await run(["verify", "latest"])).code, 3);
    assert.deepEqual(
      notices.bodies.slice(1).map(({ event, job, id: of }) => [event, job, of]),
      [
        ["success", "verify", id],
        ["failure", "verify", id],
      ],
    );
  });

  test("tell why a backup failed, without the password, and change no result", async () => {
    const before = notices.bodies.length;
    const down = "postgres://u:pass-word-of-mine@127.0.0.1:1/db";
    const failed = await run(["backup"], {}, down);
    assert.equal(failed.code, 7);
    assert.doesNotMatch(failed.stderr, /warning/);
    const [notice] = notices.bodies.slice(before);
    assert.equal(notice?.event, "failure");
    assert.match(JSON.stringify(notice?.error), /^{"code":"server-unreachable",/);
    assert.ok(!JSON.stringify(notices.bodies).includes("pass-word-of-mine"));
    const silent = "http://127.0.0.1:1/ping/token-of-the-url";
    const done = await run(["backup", "-d", join(folder, "other")], {
      BACKUP_ON_SUCCESS_URL: silent,
    });
    assert.equal(done.code, 0, done.stderr);
    assert.match(done.stderr, /warning: the notice to 127\.0\.0\.1:1 was not taken/);
    assert.ok(!done.stderr.includes("token-of-the-url"));
    assert.equal(notices.bodies.length, before + 1);
  });
});
