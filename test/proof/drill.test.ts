import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { DrillReport } from "../../src/service/drill/drill-report.ts";
import { launchBrowser, noBrowser, pageSizes, wrongWith } from "../harness/browser.ts";
import { type CommandResult, pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { s3Missing } from "../harness/s3-server.ts";
import { makeBucket, type TestBucket } from "../harness/s3-store.ts";

const passphrase = "a passphrase that no page may show";

suite("drill with a bucket, and its page", { skip: s3Missing() ?? false }, () => {
  let bucket: TestBucket;
  let live: TestDatabase;
  let folder: string;
  /** The pages of a drill that passed and of one that failed. */
  const pages: string[] = [];

  before(async () => {
    bucket = await makeBucket();
    live = await createDatabase("drill s3", "n-kudo", { settings: { "seed.big": "off" } });
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(async () => {
    await bucket.close();
    await live.drop();
    await rm(folder, { recursive: true });
  });

  const run = (args: readonly string[], dir = "here"): Promise<CommandResult> =>
    pgtenant(args, {
      url: live.url,
      env: {
        BACKUP_DIR: join(folder, dir),
        BACKUP_S3_BUCKET: bucket.name,
        BACKUP_S3_PREFIX: "n-kudo",
        BACKUP_S3_ENDPOINT: bucket.access.endpoint,
        BACKUP_ENCRYPTION_KEY: passphrase,
        AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
        AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
      },
    });

  async function drilled(exitCode: number, dir?: string): Promise<DrillReport> {
    const result = await run(["drill", "--json"], dir);
    assert.equal(result.code, exitCode, result.stderr);
    const { files, ...report } = JSON.parse(result.stdout.toString());
    pages.push(files.page);
    const printed = `${result.stdout}${result.stderr}`;
    for (const secret of [passphrase, bucket.access.secretAccessKey]) {
      assert.ok(!printed.includes(secret));
    }
    return report;
  }

  const stateOf = ({ checks }: DrillReport, name: string) =>
    checks.find(({ check }) => check === name);

  test("the copy in S3 is downloaded and compared; with the folder lost it is what is restored", async () => {
    for (const args of [
      ["backup", "--encrypt"],
      ["export", "acme", "-o", `s3://${bucket.name}/n-kudo/tenants/acme/`],
    ]) {
      const made = await run(args);
      assert.equal(made.code, 0, made.stderr);
    }
    const report = await drilled(0);
    assert.match(stateOf(report, "off-site")?.message ?? "", /^[\d.]+ kB downloaded from s3:\/\//);
    assert.equal(stateOf(report, "tenant")?.state, "passed");
    assert.deepEqual(
      report.checklist.map(({ state }) => state),
      ["passed", "passed", "passed", "passed", "passed", "by-hand", "by-hand"],
    );
    // A new host has nothing but the bucket.
    const elsewhere = await drilled(0, "another host");
    assert.match(elsewhere.backup?.place ?? "", /^s3:\/\//);
    assert.equal(stateOf(elsewhere, "tenant")?.state, "passed");
  });

  test("fails by name where the bucket's copy is cut short, and where it lacks the backup", async () => {
    const store = await bucket.open({ prefix: "n-kudo" });
    const keys: string[] = [];
    for await (const { key } of store.list("backup_")) keys.push(key);
    const dump = keys.find((key) => key.endsWith(".sql.gz.enc")) ?? assert.fail(keys.join());
    const chunks: Buffer[] = [];
    for await (const chunk of await store.read(dump)) chunks.push(chunk as Buffer);
    const whole = Buffer.concat(chunks);
    const flipped = Buffer.from(whole);
    flipped.writeUInt8(flipped.readUInt8(100) ^ 1, 100);
    await store.write(dump, [flipped] as unknown as AsyncIterable<Uint8Array>, { overwrite: true });
    const damaged = await drilled(3);
    assert.equal(stateOf(damaged, "off-site")?.state, "failed");
    assert.ok(damaged.problem?.includes(dump), damaged.problem ?? "");
    assert.equal(stateOf(damaged, "rows")?.state, "passed");
    await store.remove(dump);
    const lacking = await drilled(3);
    assert.equal(stateOf(lacking, "off-site")?.state, "failed");
    assert.match(lacking.problem ?? "", /s3:\/\//);
  });

  test("its page: axe finds nothing, nothing scrolls sideways", { skip: noBrowser }, async () => {
    const browser = await launchBrowser();
    try {
      for (const [number, path] of [pages[0], pages.at(-1)].entries()) {
        for (const viewport of Object.values(pageSizes)) {
          for (const colorScheme of ["light", "dark"] as const) {
            const page = await browser.newPage({ viewport, colorScheme });
            const said: string[] = [];
            page.on("console", (message) => said.push(message.text()));
            await page.goto(pathToFileURL(path ?? assert.fail()).href);
            const heading = (await page.locator("h1").textContent()) ?? "";
            assert.match(heading, number === 0 ? /^The backup restores/ : /^The drill failed: /);
            assert.equal(await page.locator("section[aria-labelledby=list] li").count(), 7);
            assert.deepEqual([...(await wrongWith(page)), ...said], []);
            assert.ok(!(await page.content()).includes(passphrase));
            await page.close();
          }
        }
      }
    } finally {
      await browser.close();
    }
  });
});
