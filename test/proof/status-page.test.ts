import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import type { Browser } from "playwright-core";
import { type HttpServer, startHttp } from "../../src/service/http.ts";
import { launchBrowser, neverReload, noBrowser, pageSizes, wrongWith } from "../harness/browser.ts";
import { stateOf, states } from "../harness/status-states.ts";

const token = "a token that is long enough";

suite("status page in Chromium", { skip: noBrowser }, () => {
  let browser: Browser;
  let shown = "empty";
  let server: HttpServer;
  let guarded: HttpServer;

  before(async () => {
    browser = await launchBrowser();
    const options = {
      host: "127.0.0.1",
      port: 0,
      status: { read: async () => stateOf(shown) },
      ready: async () => true,
      warn: assert.fail,
    };
    server = await startHttp({ ...options, token: undefined });
    guarded = await startHttp({ ...options, token });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
    await guarded?.close();
  });

  for (const state of Object.keys(states)) {
    for (const [size, viewport] of Object.entries(pageSizes)) {
      for (const colorScheme of ["light", "dark"] as const) {
        test(`${state}, ${size}, ${colorScheme}: axe finds nothing, nothing scrolls sideways`, async () => {
          shown = state;
          const page = await browser.newPage({ viewport, colorScheme });
          await page.addInitScript(neverReload);
          const said: string[] = [];
          page.on("console", (message) => said.push(message.text()));
          page.on("pageerror", (error) => said.push(error.message));
          await page.goto(server.url);
          const heading = await page.locator("h1").textContent();
          assert.equal(heading?.replaceAll("\u00a0", " "), stateOf(state).promise.sentence);
          for (const details of await page.locator("summary").all()) await details.click();
          assert.deepEqual([...(await wrongWith(page)), ...said], []);
          await page.close();
        });
      }
    }
  }

  test("what axe and the width would find is found", async () => {
    shown = "good";
    const page = await browser.newPage({ viewport: pageSizes.phone });
    await page.addInitScript(neverReload);
    await page.goto(server.url);
    await page.evaluate(
      "const p = document.createElement('pre'); p.textContent = 'x'.repeat(500); p.setAttribute('role', 'nothing'); document.querySelector('main').append(p)",
    );
    const wrong = (await wrongWith(page)).join("\n");
    assert.match(wrong, /^aria-roles: /m);
    assert.match(wrong, /pixels to scroll to the side/);
    await page.close();
  });

  test("while a job runs the page looks again by itself", async () => {
    shown = "running";
    const page = await browser.newPage();
    await page.goto(server.url);
    await page.getByRole("progressbar", { name: "Backup" }).waitFor();
    shown = "good";
    await page.locator('body[data-refresh="60"]').waitFor({ timeout: 60_000 });
    assert.equal(await page.getByText("Running now").count(), 0);
    await page.close();
  });

  test("without JavaScript says the same, with every number of the chart in a table", async () => {
    shown = "good";
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(server.url);
    const text = (await page.locator("main").innerText()).replaceAll("\u00a0", " ");
    assert.ok(text.includes(stateOf("good").promise.sentence));
    const rows = page.locator("section[aria-labelledby=backups] tbody tr");
    assert.equal(await rows.count(), 30);
    assert.equal(await page.locator("svg[aria-label^='Size of 30 backups'] .bar").count(), 30);
    assert.equal(await page.locator("svg[aria-label^='Duration of 30 backups'] .bar").count(), 30);
    await context.close();
  });

  test("with the keyboard alone everything is reached, and the focus can be seen", async () => {
    shown = "good";
    const page = await browser.newPage();
    await page.goto(server.url);
    const focused = () =>
      page.evaluate(
        "(() => { const e = document.activeElement; const s = getComputedStyle(e); return [e.textContent, s.outlineStyle, parseFloat(s.outlineWidth)]; })()",
      ) as Promise<[string, string, number]>;
    const reached: string[] = [];
    for (const _ of [1, 2, 3, 4]) {
      await page.keyboard.press("Tab");
      const [text, style, width] = await focused();
      assert.ok(style !== "none" && width >= 2, `the focus of "${text}" can be seen`);
      reached.push(text);
      if (text.startsWith("Show")) await page.keyboard.press("Enter");
    }
    assert.deepEqual(reached, [
      "Skip to the status",
      "Show 20 older ones",
      "Status as JSON",
      "Metrics",
    ]);
    assert.equal(await page.locator("details[open]").count(), 1);
    const focusable = await page.locator("a, button, input, summary").count();
    assert.equal(focusable, reached.length, "nothing else wants the focus");
    await page.close();
  });

  test("the token is typed once, stands in no address, and the form is accessible", async () => {
    shown = "good";
    const context = await browser.newContext({ viewport: pageSizes.phone });
    const page = await context.newPage();
    await page.goto(guarded.url);
    assert.equal(page.url(), `${guarded.url}/login`);
    assert.deepEqual(await wrongWith(page), []);
    await page.getByLabel("Token").fill("this is wrong");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").waitFor();
    assert.deepEqual(await wrongWith(page), []);
    await page.getByLabel("Token").fill(token);
    await page.keyboard.press("Enter");
    await page.waitForURL(`${guarded.url}/`);
    assert.match((await page.locator("h1").textContent()) ?? "", /^The promise is kept/);
    const [cookie] = await context.cookies();
    assert.equal(cookie?.httpOnly, true);
    assert.ok(cookie?.value.includes(token) === false);
    await context.close();
  });
});
