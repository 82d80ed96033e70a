import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import { withSession } from "../../src/postgres/session.ts";
import { lockSet } from "../../src/tenant/set/set-lock.ts";
import { setText, type TenantSet } from "../../src/tenant/set/tenant-set.ts";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { type CommandResult, pgtenant, spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";
import { readAll } from "../harness/stores.ts";
import { addSmallTenants, setOf } from "../harness/tenant-sets.ts";

const small = { settings: { "seed.big": "off" } };
const tenants = 43;

interface SetResult {
  readonly exported: readonly {
    readonly output: string;
    readonly tenant: { readonly slug: string };
  }[];
  readonly failed: readonly unknown[];
  readonly set: {
    readonly id: string;
    readonly manifest: string;
    readonly complete: boolean;
    readonly resumed: boolean;
    readonly tenants: number;
    readonly snapshots: number;
  };
}

suite("export --all", () => {
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("export all", "n-kudo", small);
    await addSmallTenants(database, tenants - 3);
  });
  after(async () => {
    await database.drop();
    await rm(folder, { recursive: true });
  });

  const run = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    pgtenant(args, { url: database.url, env });

  async function exported(...args: readonly string[]): Promise<SetResult> {
    const { code, stdout, stderr } = await run(["export", "--all", "--json", ...args]);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout.toString()) as SetResult;
  }

  const manifestOf = async (path: string): Promise<TenantSet> =>
    setOf(await readFile(path, "utf8"));

  /** Starts an export, and kills it once it has told of so many tenants. */
  async function killAfter(told: number, args: readonly string[]): Promise<void> {
    const child = spawnPgtenant(["export", "--all", ...args], { url: database.url });
    child.stdin.end();
    child.stderr.resume();
    let lines = 0;
    for await (const chunk of child.stdout) {
      lines += String(chunk).split("\n").length - 1;
      if (lines >= told) break;
    }
    child.kill("SIGKILL");
    if (child.exitCode === null && child.signalCode === null) await once(child, "close");
  }

  async function partials(place: string): Promise<readonly string[]> {
    const names = await readdir(place, { recursive: true });
    return names.filter((name) => name.endsWith(".partial"));
  }

  test("writes a manifest of all bundles beside them, by several readers, from one snapshot", async () => {
    for (const jobs of [1, 5]) {
      const place = join(folder, `jobs${jobs}`);
      const { set: told, exported: bundles } = await exported("-o", place, "--jobs", String(jobs));
      assert.equal(told.manifest, join(place, `${told.id}.manifest.json`));
      const set = await manifestOf(told.manifest);
      assert.deepEqual(
        [set.complete, set.tenants.length, set.failed, set.missing, set.shard, set.database],
        [true, tenants, [], 0, null, database.name],
      );
      assert.equal(set.snapshots.length, 1);
      assert.deepEqual(
        set.tenants.map(({ path }) => join(place, path)),
        bundles
          .toSorted((a, b) => (a.tenant.slug < b.tenant.slug ? -1 : 1))
          .map(({ output }) => output),
      );
      for (const { path, bytes, sha256 } of set.tenants) {
        const content = await readFile(join(place, path));
        assert.equal(content.length, bytes);
        assert.equal(createHash("sha256").update(content).digest("hex"), sha256);
      }
      assert.equal((await stat(told.manifest)).mode & 0o777, 0o600);
      // Nothing is left to go on with.
      assert.equal((await readdir(place)).length, tenants + 1);
    }
  });

  test("verify of its manifest checks every bundle, and names each one that is bad", async () => {
    const place = join(folder, "verified");
    const { set } = await exported("-o", place);
    const good = await run(["verify", set.manifest]);
    assert.equal(good.code, 0, good.stderr);
    assert.match(
      good.stdout.toString(),
      new RegExp(
        `is complete and every bundle is whole and valid: ${tenants} tenants of the database`,
      ),
    );
    const { tenants: bundles } = await manifestOf(set.manifest);
    const [deleted, flipped, cut] = bundles.map(({ path }) => join(place, path));
    assert.ok(deleted && flipped && cut);
    await rm(deleted);
    const bytes = await readFile(flipped);
    bytes.writeUInt8(bytes.readUInt8(bytes.length >> 1) ^ 4, bytes.length >> 1);
    await writeFile(flipped, bytes);
    await writeFile(cut, (await readFile(cut)).subarray(0, -1));
    for (const more of [[], ["--stored-only"]]) {
      const bad = await run(["verify", set.manifest, ...more]);
      assertFailure(bad, {
        code: 3,
        message: new RegExp(`^pgtenant: 3 of ${tenants} bundles of the set ".*" are bad$`),
        hint: /other copies/,
      });
      assert.match(bad.stderr, /^ {2}tenant "acme", "tenant_acme.*": it is missing$/m);
      assert.match(
        bad.stderr,
        /^ {2}tenant "globex", .*: its bytes are not those that were written/m,
      );
      assert.match(
        bad.stderr,
        /^ {2}tenant "initech", .*: it has \d+ bytes, and the manifest says \d+$/m,
      );
    }
    const { error } = JSON.parse(
      (await run(["verify", set.manifest, "--json"])).stdout.toString(),
    ) as { error: { code: string; valid: boolean; bad: unknown[] } };
    assert.deepEqual([error.code, error.valid, error.bad.length], ["bad-set", false, 3]);
  });

  test("a manifest that was altered, is no JSON, or leads out of its folder is refused", async () => {
    const place = join(folder, "altered");
    const { set: told } = await exported("-o", place, "--shard", "0/9");
    const set = await manifestOf(told.manifest);
    const [first] = set.tenants;
    assert.ok(first);
    const outside = { ...set, tenants: [{ ...first, path: `../${first.path}` }] };
    for (const [content, message] of [
      [
        JSON.stringify({ ...JSON.parse(setText(set)), complete: false }),
        /its own hash does not hold/,
      ],
      [setText(set).slice(0, -20), /it is no JSON/],
      [setText(outside), /names files outside of it/],
      [setText({ ...set, set: 2 as never }), /has version 2, and this program knows version 1/],
    ] as const) {
      await writeFile(told.manifest, content);
      assertFailure(await run(["verify", told.manifest]), { code: 3, message, hint: /./ });
    }
  });

  test("encrypted bundles need their key, and a passphrase is stretched once for all", async () => {
    const { recipient, identity } = await generateKeyPair();
    const identityFile = join(folder, "identity");
    await writeFile(identityFile, identity, { mode: 0o600 });
    const recipients = join(folder, "recipients");
    const { set: forKey } = await exported("-o", recipients, "--recipient", recipient);
    assertFailure(await run(["verify", forKey.manifest]), {
      code: 6,
      message: /is encrypted/,
      hint: /BACKUP_IDENTITY_FILE/,
    });
    for (const more of [["-i", identityFile], ["--stored-only"]]) {
      const { code, stderr } = await run(["verify", forKey.manifest, ...more]);
      assert.equal(code, 0, stderr);
    }
    const env = { BACKUP_ENCRYPTION_KEY: "a passphrase of the tests" };
    const before = performance.now();
    const { set: plain } = await exported("-o", join(folder, "plain"));
    assert.equal((await run(["verify", plain.manifest])).code, 0);
    const begun = performance.now();
    const written = await run(
      ["export", "--all", "--encrypt", "-o", join(folder, "passphrase"), "--json"],
      env,
    );
    assert.equal(written.code, 0, written.stderr);
    const { set } = JSON.parse(written.stdout.toString()) as SetResult;
    const read = await run(["verify", set.manifest], env);
    assert.equal(read.code, 0, read.stderr);
    // Half a second each and twice, it would be 40 s more.
    const [took, without] = [performance.now() - begun, begun - before];
    assert.ok(took < 3 * without + 8_000, `${took} ms, and ${without} ms without`);
    const manifest = await readFile(set.manifest, "utf8");
    assert.ok(!manifest.includes(env.BACKUP_ENCRYPTION_KEY));
  });

  test("shards are disjoint and complete, and each has a manifest of its own", async () => {
    const place = join(folder, "shards");
    const ids: string[] = [];
    for (const index of [0, 1, 2]) {
      const { set: told } = await exported("-o", place, "--shard", `${index}/3`);
      assert.match(told.id, new RegExp(`^set_\\d{8}_\\d{6}_shard${index}of3$`));
      const set = await manifestOf(told.manifest);
      assert.deepEqual(set.shard, { index, of: 3 });
      assert.ok(set.tenants.length > 0);
      ids.push(...set.tenants.map(({ id }) => id));
    }
    assert.equal(ids.length, tenants);
    assert.equal(new Set(ids).size, tenants);
  });

  test("a tenant that cannot be exported is in the manifest with its error, and --resume tries it again", async () => {
    const place = join(folder, "failing");
    const [tunnel] = await database.query<{ id: string; network_id: string }>(`
      SELECT x.id, x.network_id FROM vxlan_tunnels x JOIN hosts h ON h.id = x.host_id
        JOIN tenants t ON t.id = h.tenant_id WHERE t.slug = 'acme' ORDER BY x.id LIMIT 1`);
    assert.ok(tunnel);
    await database.query(`
      UPDATE vxlan_tunnels SET network_id = (
        SELECT n.id FROM vxlan_networks n JOIN tenants t ON t.id = n.tenant_id
         WHERE t.slug = 'globex' ORDER BY n.id LIMIT 1)
       WHERE id = '${tunnel.id}'`);
    const failing = await run(["export", "--all", "-o", place, "--json"]);
    assert.equal(failing.code, 4, failing.stderr);
    const { set: told } = JSON.parse(failing.stdout.toString()) as SetResult;
    const set = await manifestOf(told.manifest);
    assert.deepEqual([set.complete, set.tenants.length, set.missing], [false, tenants - 1, 0]);
    assert.deepEqual(
      set.failed.map(({ slug, error }) => [slug, error.code, error.exitCode]),
      [["acme", "cross-tenant-reference", 4]],
    );
    assertFailure(await run(["verify", told.manifest]), {
      code: 3,
      message:
        /^pgtenant: the set ".*" is not complete: 1 tenant could not be exported \("acme"\)$/,
      hint: /--resume/,
    });
    await database.query(
      `UPDATE vxlan_tunnels SET network_id = '${tunnel.network_id}' WHERE id = '${tunnel.id}'`,
    );
    const later = join(folder, "failing since");
    await cp(place, later, { recursive: true });
    const now = new Date().toISOString();
    const begunSince = ["--resume", "--resume-since", now, "--json"];
    const since = await run(["export", "--all", "-o", later, ...begunSince]);
    assert.equal(since.code, 0, since.stderr);
    assert.match(since.stderr, /began at .*, before .*: it is closed as it is/);
    const anew = JSON.parse(since.stdout.toString()) as SetResult;
    assert.deepEqual([anew.set.resumed, anew.exported.length], [false, tenants]);
    const again = await exported("-o", place, "--resume", "--resume-since", set.createdAt);
    assert.deepEqual(
      [again.exported.map(({ tenant }) => tenant.slug), again.set.id, again.set.complete],
      [["acme"], told.id, true],
    );
    const whole = await manifestOf(told.manifest);
    assert.deepEqual(
      [whole.tenants.length, whole.failed, whole.snapshots.length],
      [tenants, [], 2],
    );
    assert.deepEqual(
      whole.tenants.map(({ slug, snapshot }) => (slug === "acme" ? snapshot : 0)).filter(Boolean),
      [1],
    );
    assert.equal((await run(["verify", told.manifest])).code, 0);
  });

  test("a run that was killed is gone on with: what is there stays, what is lost, new or dropped is named", async () => {
    const place = join(folder, "killed");
    await killAfter(10, ["-o", place, "--jobs", "2"]);
    const names = await readdir(place);
    const before = names.filter((name) => name.startsWith("tenant_"));
    assert.ok(before.length >= 10 && before.length < tenants, `${before.length}`);
    const [manifest = ""] = names.filter((name) => name.endsWith(".manifest.json"));
    const unfinished = await manifestOf(join(place, manifest));
    assert.deepEqual([unfinished.complete, unfinished.finishedAt], [false, null]);
    assertFailure(await run(["verify", join(place, manifest)]), {
      code: 3,
      message: /is not complete: 43 tenants had no turn$/,
      hint: /--resume/,
    });
    // As a run that was killed later would have left it.
    const begun = `tenant_zz_20260101_020000.jsonl.zst`;
    const progress = names.find((name) => name.endsWith(".progress.jsonl")) ?? "";
    const partial = join(place, `.${begun}.01234567.partial`);
    const theirs = join(place, ".tenant_theirs_20260101_020000.jsonl.zst.01234567.partial");
    for (const path of [partial, theirs]) await writeFile(path, "half");
    const lines = await readFile(join(place, progress), "utf8");
    await writeFile(
      join(place, progress),
      `${lines}${JSON.stringify({ begun })}\n{"done":{"id":"cut`,
    );
    const done = lines
      .split("\n")
      .flatMap((line) =>
        line.startsWith('{"done"')
          ? [JSON.parse(line).done as { path: string; slug: string; id: string }]
          : [],
      );
    const lost = done.find(({ slug }) => slug.startsWith("small-"));
    const dropped = done.findLast(({ slug }) => slug.startsWith("small-"));
    assert.ok(lost && dropped && lost !== dropped);
    await rm(join(place, lost.path));
    await database.query(`
      DELETE FROM tenants WHERE id = '${dropped.id}';
      INSERT INTO tenants (id, slug, name, primary_region, data_retention_days, created_at, updated_at)
      VALUES (md5('late')::uuid, 'late', 'Late', 'eu-central-1', 30, now(), now())`);
    const result = await run(["export", "--all", "-o", place, "--resume", "--json"]);
    assert.equal(result.code, 0, result.stderr);
    const { set: told, exported: further } = JSON.parse(result.stdout.toString()) as SetResult;
    assert.deepEqual([told.resumed, told.complete, told.snapshots], [true, true, 2]);
    assert.match(
      result.stderr,
      new RegExp(
        `going on with the set ".*${told.id}", begun at .*: ${done.length - 2} of ${tenants} tenants are exported`,
      ),
    );
    assert.match(
      result.stderr,
      new RegExp(
        `1 tenant whose bundle is missing or has another size, exported anew: "${lost.slug}"`,
      ),
    );
    assert.match(
      result.stderr,
      new RegExp(`1 tenant not in the database any more, whose bundle is kept: "${dropped.slug}"`),
    );
    assert.match(result.stderr, /1 tenant new since the set began: "late"/);
    assert.match(result.stderr, /removed what the earlier run has left: .*tenant_zz/);
    assert.equal(further.length, tenants - done.length + 2);
    const set = await manifestOf(told.manifest);
    assert.equal(set.tenants.length, tenants + 1);
    assert.deepEqual(
      set.tenants.filter(({ gone }) => gone).map(({ slug }) => slug),
      [dropped.slug],
    );
    assert.deepEqual(await partials(place), [
      ".tenant_theirs_20260101_020000.jsonl.zst.01234567.partial",
    ]);
    const verified = await run(["verify", told.manifest]);
    assert.equal(verified.code, 0, verified.stderr);
    // Finished: the same command line begins a new one.
    const next = await exported("-o", place, "--resume");
    assert.notEqual(next.set.id, told.id);
    assert.equal(next.set.resumed, false);
  });

  test("other options, another shard, and a set of yesterday are not gone on with", async () => {
    const place = join(folder, "other");
    await killAfter(5, ["-o", place, "--jobs", "1"]);
    for (const more of [["--redact"], ["--shard", "0/2"], ["--compress", "gzip"]]) {
      const { set } = await exported("-o", place, "--resume", ...more);
      assert.equal(set.resumed, false, more.join(" "));
    }
    const name = (await readdir(place)).find((one) => one.endsWith(".progress.jsonl")) ?? "";
    const old = await readFile(join(place, name), "utf8");
    const yesterday = new Date(Date.now() - 25 * 3_600_000).toISOString();
    await writeFile(
      join(place, name),
      old.replace(/"createdAt":"[^"]*"/, `"createdAt":"${yesterday}"`),
    );
    const result = await run(["export", "--all", "-o", place, "--resume", "--json"]);
    assert.equal(result.code, 0, result.stderr);
    assert.match(
      result.stderr,
      /the unfinished set ".*" began at .*, more than 24 hours ago: it is closed as it is/,
    );
    assert.equal((JSON.parse(result.stdout.toString()) as SetResult).set.resumed, false);
    const closed = await manifestOf(join(place, name.replace(".progress.jsonl", ".manifest.json")));
    assert.equal(closed.complete, false);
    assert.ok(closed.tenants.length >= 5);
    assert.ok(!(await readdir(place)).includes(name));
  });

  test("two runs at once into one place: the second is exit 5 and names the first", async () => {
    const place = join(folder, "locked");
    await withSession(
      { databaseUrl: database.url, applicationName: "pgtenant export --all" },
      async (session) => {
        await session.client.query("BEGIN");
        await lockSet(session, place, null);
        for (const more of [[], ["--resume"]]) {
          const second = await run(["export", "--all", "-o", place, ...more]);
          assertFailure(second, {
            code: 5,
            message:
              /another run exports every tenant of the database ".*" into ".*locked": pgtenant export --all \(server process \d+/,
            hint: /Wait until it has finished/,
          });
        }
        const shard = await run(["export", "--all", "-o", place, "--shard", "0/2"]);
        assert.equal(shard.code, 0, shard.stderr);
        await session.client.query("ROLLBACK");
      },
    );
    const free = await run(["export", "--all", "-o", place]);
    assert.equal(free.code, 0, free.stderr);
  });

  test("an interrupted run leaves a manifest of what there is", async () => {
    const place = join(folder, "interrupted");
    const child = spawnPgtenant(["export", "--all", "-o", place, "--jobs", "1"], {
      url: database.url,
    });
    child.stdin.end();
    const errors = text(child.stderr);
    for await (const chunk of child.stdout) if (String(chunk).includes("small-")) break;
    child.kill("SIGINT");
    if (child.exitCode === null) await once(child, "close");
    assert.equal(child.exitCode, 130, await errors);
    assert.match(await errors, /--resume goes on with them/);
    const name = (await readdir(place)).find((one) => one.endsWith(".manifest.json")) ?? "";
    const set = await manifestOf(join(place, name));
    assert.equal(set.complete, false);
    assert.ok(set.tenants.length > 0 && set.missing > 0 && set.finishedAt !== null);
    assert.deepEqual(await partials(place), []);
  });

  test("when the session of the snapshot and the lock is lost, the readers end: exit 7", async () => {
    const place = join(folder, "lost");
    const child = spawnPgtenant(["export", "--all", "-o", place, "--jobs", "2"], {
      url: database.url,
    });
    child.stdin.end();
    const errors = text(child.stderr);
    const closed = once(child, "close");
    let seen = false;
    for await (const chunk of child.stdout) {
      if (seen || !String(chunk).includes("small-")) continue;
      seen = true;
      await database.query(`
        SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND classid::int8 = ${0x70677473}
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`);
    }
    await closed;
    assert.equal(child.exitCode, 7, await errors);
    assert.match(await errors, /^pgtenant: the connection that held the snapshot .* was lost$/m);
    assert.match(await errors, /^hint: .*--resume/m);
    const { set } = await exported("-o", place, "--resume");
    assert.deepEqual([set.resumed, set.complete], [true, true]);
  });

  test("an anonymised set's manifest has no tenant's name", async () => {
    const place = join(folder, "anonymous");
    const { set } = await exported("-o", place, "--anonymise", "--shard", "1/4");
    assert.doesNotMatch(await readFile(set.manifest, "utf8"), /acme|globex|initech|small-/);
    assert.equal((await run(["verify", set.manifest])).code, 0);
  });

  test("options that mean nothing are exit 2", async () => {
    for (const [args, message] of [
      [["--all", "--jobs", "0"], /--jobs "0" is not a number from 1 to 16/],
      [["--all", "--jobs", "17"], /--jobs "17" is not a number/],
      [["--all", "--shard", "3/3"], /--shard "3\/3" is no shard/],
      [["--all", "--shard", "1"], /--shard "1" is no shard/],
      [["acme", "--resume"], /--resume is given without --all/],
      [["acme", "--shard", "0/2"], /--shard is given without --all/],
      [["acme", "--resume-since", "2026-01-01"], /--resume-since is given without --all/],
      [["--all", "--resume-since", "2026-01-01"], /--resume-since is given without --resume/],
      [["--all", "--resume", "--resume-since", "soon"], /--resume-since "soon" is not a time/],
    ] as const) {
      assertFailure(await run(["export", ...args]), { code: 2, message, hint: /./ });
    }
    const { code, exitCode } = errorDocument(
      await run(["verify", join(folder, "set_20260101_020000.manifest.json"), "--json"]),
    );
    assert.deepEqual([code, exitCode], ["no-such-file", 2]);
  });

  suite("into S3", { skip: s3Missing() ?? false }, () => {
    let bucket: TestBucket;
    before(async () => {
      bucket = await makeBucket();
    });
    after(() => bucket.close());

    const s3 = (): Readonly<Record<string, string>> => ({
      AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
      AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
      BACKUP_S3_ENDPOINT: bucket.access.endpoint,
    });
    const done = async (running: Promise<CommandResult>): Promise<SetResult> => {
      const { code, stdout, stderr } = await running;
      assert.equal(code, 0, stderr);
      return JSON.parse(stdout.toString()) as SetResult;
    };

    test("has its manifest beside the bundles, and is verified by its URL", async () => {
      const place = `s3://${bucket.name}/sets/`;
      const { set: told } = await done(run(["export", "--all", "-o", place, "--json"], s3()));
      assert.equal(told.manifest, `${place}${told.id}.manifest.json`);
      const store = await bucket.open({ prefix: "sets" });
      const set = await setOf((await readAll(store, `${told.id}.manifest.json`)).toString());
      const keys = (await Array.fromAsync(store.list())).map(({ key }) => key);
      assert.deepEqual(
        keys.sort(),
        [`${told.id}.manifest.json`, ...set.tenants.map(({ path }) => path)].sort(),
      );
      assert.equal((await run(["verify", told.manifest], s3())).code, 0);
      const [first] = set.tenants;
      assert.ok(first);
      await store.remove(first.path);
      const bad = await run(["verify", told.manifest], s3());
      assertFailure(bad, { code: 3, message: /^pgtenant: 1 of \d+ bundles of the set/, hint: /./ });
      assert.match(bad.stderr, new RegExp(`"${first.slug}", .*: it is missing`));
    });

    test("is gone on with from the progress that a killed run has left there", async () => {
      // So many that the run is not over when its progress is first written down.
      await addSmallTenants(database, 200, 1000);
      const place = `s3://${bucket.name}/killed`;
      const child = spawnPgtenant(["export", "--all", "-o", place, "--jobs", "1"], {
        url: database.url,
        env: s3(),
      });
      child.stdin.end();
      child.stdout.resume();
      child.stderr.resume();
      const store = await bucket.open({ prefix: "killed" });
      // The second part of the progress has the first bundles.
      const parts = async () =>
        (await Array.fromAsync(store.list("set_"))).filter(({ key }) => key.includes(".progress/"));
      while ((await parts()).length < 2 && child.exitCode === null) await sleep(20);
      child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "close");
      assert.equal(child.signalCode, "SIGKILL", "it was too fast to be killed");
      const result = await done(run(["export", "--all", "-o", place, "--resume", "--json"], s3()));
      assert.deepEqual([result.set.resumed, result.set.complete], [true, true]);
      assert.ok(result.exported.length < result.set.tenants, `${result.exported.length}`);
      assert.deepEqual(await parts(), []);
      assert.equal((await run(["verify", result.set.manifest], s3())).code, 0);
    });
  });
});
