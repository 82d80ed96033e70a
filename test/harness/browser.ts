import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { AxeResults } from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser"].find((path) =>
  existsSync(path),
);
/** Why no page can be looked at here; false where one can. */
export const noBrowser =
  executablePath === undefined ? "there is no chromium (Debian's package)" : false;

const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

export async function launchBrowser(): Promise<Browser> {
  return await chromium.launch({
    executablePath: executablePath ?? "",
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
}

/** A page that thinks that nobody sees it does not look again, so that it is what it was. */
export const neverReload =
  "Object.defineProperty(document, 'visibilityState', { value: 'hidden' })";

export const pageSizes = {
  desktop: { width: 1280, height: 900 },
  phone: { width: 360, height: 740 },
} as const;

/** What the browser has against a page: axe's findings, refused parts, scrolling to the side. */
export async function wrongWith(page: Page): Promise<readonly string[]> {
  // As an isolated script, which the page's own policy has no say in.
  await page.evaluate(readFileSync(axe, "utf8"));
  const results = (await page.evaluate(
    "axe.run(document, {resultTypes: ['violations']})",
  )) as AxeResults;
  const overflow = (await page.evaluate(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  )) as number;
  return [
    ...results.violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`,
    ),
    ...(overflow > 0 ? [`${overflow} pixels to scroll to the side`] : []),
  ];
}
