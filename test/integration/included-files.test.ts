import assert from "node:assert/strict";
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { dropDatabases } from "../harness/server-databases.ts";
import { withSmallDisk } from "../harness/small-disk.ts";

const key = "a-passphrase-of-some-length";
const pem =
  "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n";

suite("the PKI and configuration beside a backup", () => {
  let database: TestDatabase;
  let home = "";
  let pki = "";
  let folder = "";

  before(async () => {
    database = await createDatabase("included", "empty");
    await database.query("CREATE TABLE t (id int PRIMARY KEY)");
    home = await mkdtemp(join(tmpdir(), "pgtenant-included-"));
    folder = join(home, "backups");
    pki = join(home, "pki");
    await mkdir(join(pki, "empty"), { recursive: true });
    await writeFile(join(pki, "ca.key"), pem, { mode: 0o600 });
    await writeFile(join(pki, "ca.crt"), "certificate");
    await chmod(join(pki, "ca.crt"), 0o644);
    await symlink("ca.crt", join(pki, "current.crt"));
    await writeFile(join(home, "app.conf"), "listen = 443\n");
  });
  after(async () => {
    await database.drop();
    await rm(home, { recursive: true, force: true });
  });

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(args, { url: database.url, env: { BACKUP_DIR: folder, ...env } });

  test("a private key is not kept in the clear, unless that is allowed", async () => {
    assertFailure(await run(["backup", "--include", pki]), {
      code: 4,
      message: /^pgtenant: the included file ".*ca\.key" holds a private key/,
      hint: /--encrypt, or --allow-plaintext-keys/,
    });
    await assert.rejects(readdir(folder), { code: "ENOENT" });
    const allowed = join(home, "allowed");
    const result = await run(["backup", "--include", pki, "--allow-plaintext-keys"], {
      BACKUP_DIR: allowed,
    });
    assert.equal(result.code, 0, result.stderr);
    assert.ok((await readdir(allowed)).some((name) => name.endsWith(".files.tar.gz")));
  });

  test("a path that does not exist ends the backup before it begins", async () => {
    assertFailure(await run(["backup", "--include", join(home, "nowhere")]), {
      code: 2,
      message: /there is no file or folder ".*nowhere"/,
      hint: /BACKUP_INCLUDE_PATHS/,
    });
  });

  test("they come back below the folder of --files-to, once", async () => {
    const encrypted = { BACKUP_ENCRYPT: "true", BACKUP_ENCRYPTION_KEY: key };
    const made = await run(["backup"], {
      ...encrypted,
      BACKUP_INCLUDE_PATHS: `${pki},${join(home, "app.conf")}`,
    });
    assert.equal(made.code, 0, made.stderr);
    const target = join(home, "restored");
    const restore = ["restore", "latest", "--only-files", "--files-to", target];
    const secret = { BACKUP_ENCRYPTION_KEY: key };
    const looked = await run([...restore, "--dry-run"], secret);
    assert.equal(looked.code, 0, looked.stderr);
    assert.equal(
      looked.stdout.toString(),
      `3 files would be put below ${target}\ndry run, nothing was changed\n`,
    );
    await assert.rejects(lstat(target), { code: "ENOENT" });
    const restored = await run(restore, secret);
    assert.equal(restored.code, 0, restored.stderr);
    const { rto } = JSON.parse((await run(["status", "--json"])).stdout.toString());
    assert.equal(rto.seconds, null, "files alone are no measure of a restore");
    const there = join(target, pki);
    assert.equal(await readFile(join(there, "ca.key"), "utf8"), pem);
    assert.equal((await lstat(join(there, "ca.key"))).mode & 0o7777, 0o600);
    assert.equal((await lstat(join(there, "ca.crt"))).mode & 0o7777, 0o644);
    assert.ok((await lstat(join(there, "current.crt"))).isSymbolicLink());
    assert.deepEqual((await readdir(there)).sort(), ["ca.crt", "ca.key", "current.crt", "empty"]);
    assert.equal(await readFile(join(target, home, "app.conf"), "utf8"), "listen = 443\n");

    await writeFile(join(there, "ca.crt"), "renewed since");
    await rm(join(there, "ca.key"));
    assertFailure(await run(restore, secret), {
      code: 4,
      message: /3 of the files exist already/,
      hint: /empty folder/,
    });
    assert.equal(await readFile(join(there, "ca.crt"), "utf8"), "renewed since");
    await assert.rejects(lstat(join(there, "ca.key")), { code: "ENOENT" });
  });

  test("where they do not fit: exit 8, and that the database is restored, and what it was before", async (context) => {
    await withSmallDisk(context, 4, async (disk) => {
      const target = join(disk, "restored");
      const args = ["restore", "latest", "-f", "--disconnect", "--files-to", target];
      const result = await run(args, { BACKUP_ENCRYPTION_KEY: key });
      assert.equal(result.code, 8, result.stderr);
      assert.match(result.stderr, /^pgtenant: the disk is full: /m);
      const kept = /is restored, what was there before is in "(.*)": only the files are left/.exec(
        result.stderr,
      )?.[1];
      assert.ok(kept !== undefined, result.stderr);
      await dropDatabases(kept);
    });
  });

  test("nothing of an archive that was altered is put anywhere", async () => {
    const names = await readdir(folder);
    const name = names.find((one) => one.endsWith(".files.tar.gz.enc"));
    assert.ok(name !== undefined, names.join());
    const stored = await readFile(join(folder, name));
    const flipped = Buffer.from(stored);
    flipped[flipped.length - 20] = (flipped.at(-20) ?? 0) ^ 1;
    for (const altered of [flipped, stored.subarray(0, -64)]) {
      await writeFile(join(folder, name), altered);
      const target = join(home, "never");
      // By its id: the latest good one would be another.
      const [id = ""] = name.split(".");
      const result = await run(["restore", id, "--only-files", "--files-to", target], {
        BACKUP_ENCRYPTION_KEY: key,
      });
      assertFailure(result, { code: 3, message: /files\.tar\.gz\.enc|corrupt|whole/, hint: /./ });
      await assert.rejects(lstat(target), { code: "ENOENT" });
    }
    await writeFile(join(folder, name), stored);
  });
});
