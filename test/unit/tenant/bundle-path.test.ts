import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { bundlePath, type Destination } from "../../../src/tenant/bundle-path.ts";

const form = {
  layout: "jsonl",
  compression: "zstd",
  encryption: { method: "none" },
} as const;
const tenantOf = (slug: string, id = "1") => ({ id, slug, name: null });
const createdAt = "2026-01-01T23:59:59.999Z";

suite("the path of a bundle", () => {
  let folder: string;
  let destination: Destination;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    destination = { kind: "folder", path: folder, perTenant: false };
  });
  after(() => rm(folder, { recursive: true }));

  test("is dated by the snapshot, and by the next second while a file has that name", async () => {
    const name = (next = true) =>
      bundlePath(destination, form, tenantOf("acme"), createdAt, new Set(), next);
    assert.equal(await name(), join(folder, "tenant_acme_20260101_235959.jsonl.zst"));
    await writeFile(join(folder, "tenant_acme_20260101_235959.jsonl.zst"), "");
    assert.equal(await name(), join(folder, "tenant_acme_20260102_000000.jsonl.zst"));
    assert.equal(await name(false), join(folder, "tenant_acme_20260101_235959.jsonl.zst"));
  });

  test("has the id too where another tenant of the run has the same name for a file system", async () => {
    const taken = new Set<string>();
    const paths = [
      await bundlePath(destination, form, tenantOf("a/b"), createdAt, taken, true),
      await bundlePath(destination, form, tenantOf("A:b", "2"), createdAt, taken, true),
    ];
    assert.deepEqual(
      paths.map((path) => path.slice(folder.length + 1)),
      ["tenant_a_b_20260101_235959.jsonl.zst", "tenant_A_b_2_20260101_235959.jsonl.zst"],
    );
  });

  test("is the one that was given, whether there is a file or not", async () => {
    const path = join(folder, "mine.jsonl");
    await writeFile(path, "");
    const file = { kind: "file", path } as const;
    assert.equal(await bundlePath(file, form, tenantOf("acme"), createdAt, new Set(), true), path);
  });
});
