import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { launchBrowser, neverReload, noBrowser, pageSizes, wrongWith } from "../harness/browser.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import {
  holdUp,
  killServices,
  progressOf,
  type Service,
  startService,
} from "../harness/service.ts";

const everySecond = "* * * * * *";
const never = "0 0 1 1 *";

suite("the page of a service, state by state as its runs make them", { skip: noBrowser }, () => {
  let browser: Browser;
  let database: TestDatabase;
  let folder: string;

  before(async () => {
    browser = await launchBrowser();
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("status page of runs", "n-kudo", {
      settings: { "seed.big": "off" },
    });
  });
  after(async () => {
    killServices();
    await browser?.close();
    await rm(folder, { recursive: true });
    await database.drop();
  });

  function start(backups: string, more: Readonly<Record<string, string>> = {}, url = database.url) {
    const env = {
      BACKUP_DIR: folder,
      BACKUP_SCHEDULE: backups,
      PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
      ...more,
    };
    return startService({ url, env });
  }

  /** Loads the page in each size and colour, has axe look at it, and gives it to be looked at. */
  async function look(service: Service, seen: (page: Page) => Promise<void>): Promise<void> {
    const { status } = await service.until("service started");
    for (const viewport of Object.values(pageSizes)) {
      for (const colorScheme of ["light", "dark"] as const) {
        const page = await browser.newPage({ viewport, colorScheme });
        await page.addInitScript(neverReload);
        const said: string[] = [];
        page.on("console", (message) => said.push(message.text()));
        page.on("pageerror", (error) => said.push(error.message));
        await page.goto(String(status));
        await seen(page);
        for (const details of await page.locator("summary").all()) await details.click();
        assert.deepEqual([...(await wrongWith(page)), ...said], []);
        await page.close();
      }
    }
  }

  const textOf = async (page: Page, place: string) =>
    (await page.locator(place).innerText()).replaceAll("\u00a0", " ");
  const heading = (page: Page) => textOf(page, "h1");
  const advice = (page: Page) => textOf(page, ".hero .next");

  /** A server that does not answer has the database. */
  function unreachable(): string {
    const url = new URL(database.url);
    url.hostname = "127.0.0.1";
    url.port = "1";
    return url.href;
  }

  test("empty: what to do first", async () => {
    const service = start(never);
    await look(service, async (page) => {
      assert.equal(await heading(page), "There is no backup yet.");
      assert.match(await textOf(page, "section[aria-labelledby=first]"), /pgtenant backup/);
    });
    await service.stop();
  });

  test("failed, before there is any backup: the promise is broken, with the failure's own hint", async () => {
    const service = start(everySecond, {}, unreachable());
    const { hint } = await service.until("failed");
    await look(service, async (page) => {
      assert.equal(await heading(page), "The promise is broken: there is no good backup.");
      assert.equal(await advice(page), `What to do: ${String(hint)}`);
      assert.match(await textOf(page, "section[aria-labelledby=failures]"), /not resolved/);
    });
    await service.stop();
  });

  test("running: how far it is, and the failure before it stays until the run is done", async () => {
    const release = await holdUp(database);
    const service = start(everySecond);
    await progressOf(service);
    await look(service, async (page) => {
      await page.getByRole("progressbar", { name: "Backup" }).waitFor();
      assert.match(await textOf(page, "section[aria-labelledby=running]"), /backing up · 0 %/);
      assert.equal(await heading(page), "The promise is broken: there is no good backup.");
    });
    await release();
    await service.until("done");
    await service.stop();
  });

  test("unproved, and what proves it", async () => {
    const service = start(never);
    await look(service, async (page) => {
      const unproved = "Backups are on time, but that they restore is not proved.";
      assert.equal(await heading(page), unproved);
      assert.match(await advice(page), /pgtenant drill/);
      const failures = await textOf(page, "section[aria-labelledby=failures]");
      assert.match(failures, /has gone well since/);
      assert.doesNotMatch(failures, /not resolved/);
    });
    await service.stop();
  });

  test("good: the promise is kept, by a drill that has measured it", async () => {
    for (const command of [["drill"], ["verify", "latest"]]) {
      const { code, stderr } = await pgtenant(command, {
        url: database.url,
        env: { BACKUP_DIR: folder },
      });
      assert.equal(code, 0, stderr);
    }
    const service = start(never);
    await look(service, async (page) => {
      assert.match(
        await heading(page),
        /^The promise is kept: at most 24 h can be lost, and a restore takes [\d.]+ s\.$/,
      );
      assert.equal(await page.locator(".hero .next").count(), 0, "there is nothing to do");
    });
    await service.stop();
  });

  test("late: the newest backup is older than promised, whatever was proved of it", async () => {
    const service = start(never, { BACKUP_RPO_HOURS: "0.0001" });
    await look(service, async (page) => {
      assert.match(
        await heading(page),
        /^The promise is broken: the newest good backup is [\d.]+ (s|min) old\.$/,
      );
      assert.match(await advice(page), /^What to do: Run pgtenant backup/);
    });
    await service.stop();
  });

  test("failed, with a good backup behind it: kept, and what to do about the failure", async () => {
    const service = start(everySecond, {}, unreachable());
    const { hint } = await service.until("failed");
    await look(service, async (page) => {
      assert.equal(await heading(page), "The promise is kept, but the latest backup failed.");
      assert.equal(await advice(page), `What to do: ${String(hint)}`);
    });
    await service.stop();
  });
});
