import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { readJournal } from "../../src/journal/journal.ts";
import type { ServiceStatus } from "../../src/service/service-status.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  dumpWaits,
  groupGone,
  holdUp,
  killServices,
  leftIn,
  processesOf,
  progressOf,
  startNoticeServer,
  startService,
} from "../harness/service.ts";

const everySecond = "* * * * * *";
const seed = { settings: { "seed.big": "off" } };

suite("the service as a command", () => {
  const databases: TestDatabase[] = [];
  let root: string;
  let count = 0;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(async () => {
    killServices();
    await rm(root, { recursive: true });
    for (const database of databases) await database.drop();
  });

  /** A database and a folder of a test's own. */
  async function place() {
    const database = await createDatabase("schedule command", "n-kudo", seed);
    databases.push(database);
    count += 1;
    return { database, folder: join(root, String(count)) };
  }

  async function journalOf(folder: string) {
    const records = await Array.fromAsync(readJournal(folder));
    return records.map(({ operation, event, exitCode = null }) => [operation, event, exitCode]);
  }

  test("makes backups at its times, serves its status, and shows no secret", async () => {
    const { database, folder } = await place();
    const secret = "s3cret-passphrase-of-the-test";
    const service = startService({
      url: database.url,
      env: {
        BACKUP_DIR: folder,
        BACKUP_SCHEDULE: "*/5 * * * * *",
        BACKUP_ENCRYPT: "true",
        BACKUP_ENCRYPTION_KEY: secret,
        PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
      },
    });
    const { status } = await service.until("service started");
    const done = await service.until("done");
    assert.match(String(done.id), /^backup_\d{8}_\d{6}$/);
    assert.ok(Number(done.bytes) > 10_000, "the log says how large it is");
    assert.equal((await fetch(new URL("/healthz", String(status)))).status, 200);
    await service.stop();
    assert.equal(service.events("service ended").length, 1);
    assert.ok(!service.text().includes(secret));
    assert.ok((await leftIn(folder)).includes(`${String(done.id)}.manifest.json`));
  });

  test("gives its own flags to its jobs, and shows a URL to nobody", async () => {
    const { database, folder } = await place();
    await database.query("CREATE TABLE public.scratch (id int PRIMARY KEY)");
    const { password } = new URL(database.url);
    assert.ok(password.length > 5, "the test server wants a password");
    const service = startService(
      {
        env: {
          BACKUP_DIR: folder,
          BACKUP_SCHEDULE: "0 0 1 1 *",
          BACKUP_TENANT_SCHEDULE: everySecond,
          BACKUP_TENANTS: "acme, nobody-there, globex",
        },
      },
      ["--database-url", database.url, "--accept-unclassified"],
    );
    // Until it has begun, its own command line shows the URL, of which it warns.
    await service.until("service started");
    const seen = new Set<string>();
    const look = setInterval(async () => {
      for (const line of await processesOf(service.pid)) seen.add(line);
    }, 100);
    const failed = await service.until("failed");
    const ofGlobex = (line: string) => line.includes("export globex --accept-unclassified");
    const deadline = performance.now() + 60_000;
    while (![...seen].some(ofGlobex)) {
      assert.ok(performance.now() < deadline, [...seen].join("\n"));
      await sleep(100);
    }
    clearInterval(look);
    assert.match(
      String(failed.message),
      /^1 of 3 failed: export nobody-there: there is no tenant "nobody-there"$/,
    );
    const exported = (await readdir(join(folder, "tenants"))).sort();
    assert.deepEqual(exported, ["acme", "globex"], "the others are exported");
    await service.stop();
    assert.ok(![...seen].join("\n").includes(password));
    assert.ok(!service.text().includes(password));
  });

  test("a tenant that cannot be exported keeps no other one from a new bundle at the next slot", async () => {
    const { database, folder } = await place();
    await database.query(`
      UPDATE vxlan_tunnels SET network_id = (
        SELECT n.id FROM vxlan_networks n JOIN tenants t ON t.id = n.tenant_id
         WHERE t.slug = 'globex' ORDER BY n.id LIMIT 1)
       WHERE id = (
        SELECT x.id FROM vxlan_tunnels x JOIN hosts h ON h.id = x.host_id
          JOIN tenants t ON t.id = h.tenant_id WHERE t.slug = 'acme' ORDER BY x.id LIMIT 1)`);
    const service = startService({
      url: database.url,
      env: {
        BACKUP_DIR: folder,
        BACKUP_SCHEDULE: "0 0 1 1 *",
        BACKUP_TENANT_SCHEDULE: everySecond,
      },
    });
    const { message } = await service.until("failed in part", 2);
    assert.match(String(message), /acme/);
    await service.stop();
    const bundles = await readdir(join(folder, "tenants", "globex"));
    assert.ok(bundles.length >= 2, bundles.join(" "));
  });

  test("a job that is let go first, and gets the group's signal then, still clears up", async () => {
    const { database, folder } = await place();
    const release = await holdUp(database);
    const main = fileURLToPath(new URL("../../src/main.ts", import.meta.url));
    const { PATH = "" } = process.env;
    const job = spawn(process.execPath, [main, "backup", "--json", "--quiet"], {
      env: { PATH, DATABASE_URL: database.url, BACKUP_DIR: folder },
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const ended = once(job, "exit");
    await dumpWaits(database);
    assert.ok((await leftIn(folder)).length > 0);
    job.disconnect();
    job.kill("SIGINT");
    assert.deepEqual(await ended, [130, null]);
    assert.deepEqual(await leftIn(folder), []);
    await release();
  });

  test("a signal to the whole group in the middle of a dump leaves nothing, is no failure, and is caught up with", async () => {
    const { database, folder } = await place();
    const notices = await startNoticeServer();
    const release = await holdUp(database);
    const env = {
      BACKUP_DIR: folder,
      BACKUP_SCHEDULE: everySecond,
      BACKUP_ON_FAILURE_URL: notices.url,
      BACKUP_ON_SUCCESS_URL: notices.url,
      PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
    };
    const service = startService({ url: database.url, env });
    const { status } = await service.until("service started");
    await dumpWaits(database);
    const running = await progressOf(service);
    assert.deepEqual(
      running.map(({ operation, step, done }) => [operation, step, done]),
      [["backup", "backing up", 0]],
      "once, with what it does",
    );
    assert.ok(Number(running[0]?.total) > 1_000_000, "and of how much");
    assert.match(await (await fetch(String(status))).text(), /<progress max="100" value="0"/);
    assert.ok((await leftIn(folder)).some((name) => name.endsWith(".partial")));
    service.signal("SIGINT", "group");
    assert.equal(await service.ended, 0, service.text());
    await groupGone(service.pid);
    assert.deepEqual(await leftIn(folder), []);
    assert.deepEqual(service.events("failed"), []);
    assert.equal(service.events("stopped").length, 1);
    const journal = (await journalOf(folder)).filter(([, event]) => event !== "done");
    assert.deepEqual(
      journal.filter(([operation]) => operation === "backup"),
      [
        ["backup", "started", null],
        ["backup", "interrupted", 130],
      ],
    );
    assert.deepEqual(journal.at(-1), ["schedule", "interrupted", 130]);
    await release();
    const yearly = { ...env, BACKUP_SCHEDULE: "0 0 1 1 *" };
    const next = startService({ url: database.url, env: yearly });
    await next.until("catching up");
    await next.until("done");
    await next.stop();
    notices.close();
    assert.deepEqual(
      notices.bodies.map(({ event, job }) => [event, job]),
      [["success", "backup"]],
      "told once, by the service and not by its job too",
    );
    assert.ok(Number(notices.bodies[0]?.bytes) > 10_000);
  });

  test("without a database, with a journal that is none, or a folder that cannot be, it goes on", async () => {
    const { database, folder } = await place();
    // On one database the two would be replicas, of which one may have every slot.
    const other = await place();
    await mkdir(join(folder, "journal.jsonl"), { recursive: true });
    const file = join(root, "a-file");
    await writeFile(file, "");
    const down = join(root, "down");
    await mkdir(down);
    const noDatabase = "postgres://u:p@127.0.0.1:1/db";
    const env = { BACKUP_SCHEDULE: "*/6 * * * * *" };
    const services = [
      startService({ url: noDatabase, env: { ...env, BACKUP_DIR: down } }),
      startService({ url: database.url, env: { ...env, BACKUP_DIR: folder } }),
      startService({ url: other.database.url, env: { ...env, BACKUP_DIR: join(file, "below") } }),
    ] as const;
    const [withoutDatabase, withoutJournal, withoutFolder] = services;
    assert.equal((await withoutDatabase.until("failed")).code, "server-unreachable");
    await withoutDatabase.until("due", 2);
    const { message } = await withoutJournal.until("warning");
    assert.match(String(message), /journal\.jsonl" cannot be read/);
    await withoutJournal.until("done");
    assert.equal((await withoutFolder.until("failed")).exitCode, 8);
    await withoutFolder.until("due", 2);
    for (const service of services) await service.stop();
    const lines = await journalOf(down);
    assert.deepEqual(lines.slice(0, 2), [
      ["schedule", "started", null],
      ["schedule", "failed", 7],
    ]);
  });

  test("names of tenants that would be options are refused before anything runs: exit 2", async () => {
    for (const tenants of ["acme,--all", "-o", " , "]) {
      const service = startService({
        url: "postgres://u@127.0.0.1:1/db",
        env: { BACKUP_TENANTS: tenants },
      });
      assert.equal(await service.ended, 2);
      assert.match(service.text(), /BACKUP_TENANTS has a value that cannot be used/);
    }
  });

  test("drills at its times; a drill that finds something is a failure, told of once, and shows no secret", async () => {
    const { database, folder } = await place();
    const passphrase = 's3cret-passphrase <of the> "drill"';
    const env = { BACKUP_DIR: folder, BACKUP_ENCRYPTION_KEY: passphrase };
    const made = await pgtenant(["backup", "--encrypt"], { url: database.url, env });
    assert.equal(made.code, 0, made.stderr);
    const notices = await startNoticeServer();
    const secrets = {
      token: "T0ken-of-the-page-and-metrics",
      success: "hidden-path-of-success",
      failure: "hidden-path-of-failure",
      wrong: "another-s3cret that does not fit",
    };
    const drills = {
      ...env,
      BACKUP_SCHEDULE: "0 0 1 1 *",
      BACKUP_DRILL_SCHEDULE: everySecond,
      BACKUP_ON_SUCCESS_URL: `${notices.url}/${secrets.success}`,
      BACKUP_ON_FAILURE_URL: `${notices.url}/${secrets.failure}`,
      PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
      PGTENANT_HTTP_TOKEN: secrets.token,
    };
    const texts: string[] = [];
    try {
      for (const key of [passphrase, secrets.wrong]) {
        const service = startService({
          url: database.url,
          env: { ...drills, BACKUP_ENCRYPTION_KEY: key },
        });
        const event = key === passphrase ? "done" : "failed";
        const { status } = await service.until("service started");
        const ended = await service.until(event);
        assert.equal(ended.job, "drill");
        if (event === "failed") {
          assert.equal(ended.exitCode, 6);
          assert.match(String(ended.message), /backup_\d+_\d+\.sql\.gz\.enc/);
          assert.equal(ended.retryInSeconds, undefined, "another key does not come by itself");
        }
        const authorization = `Bearer ${secrets.token}`;
        for (const path of ["/", "/metrics", "/api/status"]) {
          const answer = await fetch(new URL(path, String(status)), { headers: { authorization } });
          assert.equal(answer.status, 200);
          texts.push(await answer.text());
        }
        const { promise } = JSON.parse(texts.at(-1) ?? "") as ServiceStatus;
        assert.equal(promise.state, event === "done" ? "kept" : "broken", promise.sentence);
        assert.match(
          texts.at(-2) ?? "",
          new RegExp(`^pgtenant_last_drill_passed ${event === "done" ? 1 : 0}$`, "m"),
        );
        await service.stop();
        texts.push(service.text());
      }
      const told = notices.bodies;
      assert.deepEqual(
        [...new Set(told.map(({ event, job }) => `${event} of ${job}`))],
        ["success of drill", "failure of drill"],
      );
      texts.push(JSON.stringify(told));
      texts.push(await readFile(join(folder, "journal.jsonl"), "utf8"));
      for (const name of await readdir(join(folder, "drills"))) {
        texts.push(await readFile(join(folder, "drills", name), "utf8"));
      }
      const password = new URL(database.url).password;
      for (const secret of [passphrase, password, ...Object.values(secrets)]) {
        const html = secret
          .replaceAll("<", "&lt;")
          .replaceAll(">", "&gt;")
          .replaceAll('"', "&quot;");
        for (const form of new Set([secret, html, JSON.stringify(secret).slice(1, -1)])) {
          for (const text of texts)
            assert.ok(!text.includes(form), `${form} in ${text.slice(0, 300)}`);
        }
      }
    } finally {
      notices.close();
    }
  });
});
