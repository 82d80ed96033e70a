import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, suite, test } from "node:test";
import { openJournal } from "../../../src/journal/journal.ts";
import { JournalReader } from "../../../src/service/journal-summary.ts";

suite("the summary of a journal", () => {
  let folder = "";
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const journal = () => openJournal(folder, { secrets: [], warn: assert.fail });
  const summary = () => new JournalReader(folder, "nkudo", "UTC").read();

  test("takes restores of the whole database in its place for a measure, and no others", async () => {
    const restored = async (details: Readonly<Record<string, unknown>>) => {
      const entry = await journal().begin("restore", { database: "nkudo" });
      await entry.done({ details });
    };
    await restored({ mode: "swap", onlyFiles: true });
    await restored({ mode: "into", into: "look", beside: "nkudo", restoreSeconds: 2 });
    assert.equal((await summary()).lastRestore, undefined);
    await restored({ mode: "swap", restoreSeconds: 4000 });
    await restored({ mode: "swap", onlyFiles: true });
    assert.equal((await summary()).lastRestore?.seconds, 4000);
  });
});
