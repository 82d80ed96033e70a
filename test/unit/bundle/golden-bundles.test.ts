import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { suite, test } from "node:test";
import { createRowValidator, requirePlainSchema } from "../../../src/bundle/row-validator.ts";
import { readWholeBundle } from "../../harness/tenant-bundle.ts";

const golden = (file: string) =>
  readFile(new URL(`../../../fixtures/golden/${file}`, import.meta.url));

const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");

/** Of the file, and of its rows' lines, which are the same in both layouts. */
const files = {
  "format-1/acme.jsonl": "d1cca0071c018484bf40db7a5ec140a7fe0f139f76142a41cb3a868c67e688f8",
  "format-1/acme.json": "0319e368c70e52e5abdcc25b2b0be7ccfc004a98ceb955fb9ad9bf00562fd9bb",
} as const;
const rowsOfAcme = "300c21f6aa115cdb36e3551a6f9eed1cfa7c1d50e3ee90604462dab5abc9c19c";

suite("a golden bundle", () => {
  for (const [file, hash] of Object.entries(files)) {
    test(`is read as on the day when it was written: ${file}`, async () => {
      const bytes = await golden(file);
      assert.equal(sha256(bytes), hash, "golden bundles are never written again");
      const bundle = await readWholeBundle(bytes);
      assert.equal(bundle.header.format, 1);
      assert.equal(bundle.header.tenant.slug, "acme");
      assert.equal(bundle.layout, file.endsWith("l") ? "jsonl" : "json");
      assert.deepEqual(
        { tables: bundle.trailer.tables, rows: bundle.trailer.rows },
        { tables: 21, rows: 260 },
      );
      const lines = bundle.tables.flatMap((table) => table.lines.map((line) => `${line}\n`));
      assert.equal(sha256(lines.join("")), rowsOfAcme);
    });

    test(`has rows that are valid by the schemas in its header: ${file}`, async () => {
      const { header, tables } = await readWholeBundle(await golden(file));
      for (const [i, { name, schema }] of header.tables.entries()) {
        requirePlainSchema(name, schema);
        const lines = tables[i]?.lines.map((line) => `${line}\n`).join("") ?? "";
        const count = createRowValidator(name, schema, 1 << 20).check(Buffer.from(lines), 1);
        assert.equal(count, tables[i]?.end.rows);
      }
    });
  }
});
