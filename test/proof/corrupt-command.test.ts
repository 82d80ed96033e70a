import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { verifyBundle } from "../../src/bundle/verify.ts";
import { AppError } from "../../src/errors.ts";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { assertFailure } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import {
  putTogether,
  refusal,
  seededRandom,
  structuralCorruptions,
  takeApart,
} from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";
import { importInto } from "../harness/import.ts";
import { compressed, layoutOf, type StoredForm, storedForms } from "../harness/sample-bundle.ts";
import { exportBundle, inChunks, withTenantSchema } from "../harness/tenant-bundle.ts";

const seed = Number(process.env.PGTENANT_TEST_SEED ?? Date.now() % 1_000_000);
/** Of each kind: cuts, flips, and things dropped, doubled, swapped or edited. */
const each = 15;

interface Case {
  readonly what: string;
  readonly bytes: Buffer;
}

suite(`corrupt bundles given to import and verify; PGTENANT_TEST_SEED=${seed}`, () => {
  let database: TestDatabase;
  let folder: string;
  let digest: DatabaseDigest;
  let lines: Buffer;
  let document: Buffer;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("corrupt", "n-kudo", { settings: { "seed.big": "off" } });
    lines = (await exportBundle(database.url, "acme")).bytes;
    document = (await exportBundle(database.url, "acme", { layout: "json" })).bytes;
    await database.query("DELETE FROM tenants WHERE slug = 'acme'");
    digest = await digestOf(database.url);
  });
  after(async () => {
    await rm(folder, { recursive: true });
    await database.drop();
  });

  /** A sample of what can happen to a file; flips that do not matter are left out. */
  async function casesOf(form: StoredForm): Promise<readonly Case[]> {
    const random = seededRandom(seed);
    const bytes = compressed(form, layoutOf(form) === "json" ? document : lines);
    const cases: Case[] = [];
    while (cases.length < each) {
      const length = Math.floor(random() * bytes.length);
      cases.push({ what: `cut at ${length}`, bytes: bytes.subarray(0, length) });
    }
    while (cases.length < 2 * each) {
      const at = Math.floor(random() * bytes.length);
      const flipped = Buffer.from(bytes);
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << Math.floor(random() * 8)), at);
      if ((await refusal(flipped)) !== undefined) {
        cases.push({ what: `a bit of byte ${at} flipped`, bytes: flipped });
      }
    }
    const structural = [...structuralCorruptions(takeApart(lines))];
    for (let i = 0; i < each; i += 1) {
      const [corruption] = structural.splice(Math.floor(random() * structural.length), 1);
      if (corruption === undefined) break;
      cases.push({ what: corruption.what, bytes: putTogether(corruption.parts, form) });
    }
    return cases;
  }

  function assertPlaced(error: unknown, what: string): void {
    assert.ok(
      error instanceof AppError,
      `${what}: ${error instanceof Error ? error.stack : error}`,
    );
    assert.equal(error.exitCode, 3, `${what}: ${error.message}`);
    assert.ok(error.hint, what);
    assert.match(error.message, place, what);
  }

  for (const form of storedForms) {
    test(`.${form}: ${3 * each} of them are refused with the place, and no row has changed`, async () => {
      const cases = await casesOf(form);
      assert.equal(cases.length, 3 * each);
      await withTenantSchema(database.url, async (session, schema) => {
        for (const { what, bytes } of cases) {
          const imported = await importInto(session, schema, bytes).catch(
            (error: unknown) => error,
          );
          assertPlaced(imported, `import, ${what}`);
          const options = { name: '"bundle"', maxRowBytes: defaultMaxRowBytes };
          const verified = await verifyBundle(inChunks(bytes), options).catch(
            (error: unknown) => error,
          );
          assertPlaced(verified, `verify, ${what}`);
        }
      });
      await assertUnchanged(database.url, digest);
    });

    test(`.${form}: the commands refuse them too`, async () => {
      const cases = await casesOf(form);
      for (const { what, bytes } of [cases[0], cases[each], cases[2 * each]].filter(
        (c) => c !== undefined,
      )) {
        const path = join(folder, `bundle.${form}`);
        await writeFile(path, bytes);
        for (const command of ["import", "verify"]) {
          const result = await pgtenant([command, path], { url: database.url });
          assertFailure(result, {
            code: 3,
            message: place,
            hint: /bundle|as pgtenant export wrote it/i,
          });
        }
        await assertUnchanged(database.url, digest, what);
      }
    });
  }
});

/** Where in a bundle something is wrong, as messages say it. */
const place =
  /line \d+|section \d+|section "|table "|before its first section|\d bytes|is empty|not a pgtenant bundle|is encrypted|has bundle format/;
