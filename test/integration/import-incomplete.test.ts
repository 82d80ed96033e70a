import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type Parts, putTogether, seededRandom, takeApart } from "../harness/corruptions.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { forge } from "../harness/forge.ts";
import { assertImportRefused, deleteTenant, freshBundle, importBytes } from "../harness/import.ts";
import { compressed } from "../harness/sample-bundle.ts";

/** Each way a bundle can be other than it was written; the reader's own tests have them all. */
const corruptions: Readonly<Record<string, (parts: Parts) => Parts>> = {
  "its trailer is missing": (parts) => ({ ...parts, trailer: "" }),
  "its last section is missing": (parts) => ({ ...parts, sections: parts.sections.slice(0, -1) }),
  "a section stands there twice": (parts) => ({
    ...parts,
    sections: parts.sections.flatMap((section, i) => (i === 2 ? [section, section] : [section])),
  }),
  "two sections have changed places": ({ sections: [a, b, c, ...rest], ...parts }) => ({
    ...parts,
    sections: [a, c, b, ...rest].flatMap((section) => section ?? []),
  }),
  "its last row is missing": (parts) => changeLast(parts, (rows) => rows.slice(0, -1)),
  "its last row is another one": (parts) =>
    changeLast(parts, (rows) => rows.map((row) => row.replace(/}$/, " }"))),
  "its header says something else": (parts) => ({
    ...parts,
    header: parts.header.replace('"createdAt":"2', '"createdAt":"3'),
  }),
  "something stands behind its trailer": (parts) => ({ ...parts, after: "{}\n" }),
};

function changeLast(parts: Parts, change: (rows: readonly string[]) => readonly string[]): Parts {
  const at = parts.sections.findLastIndex((section) => section.rows.length > 0);
  return {
    ...parts,
    sections: parts.sections.map((section, i) =>
      i === at ? { ...section, rows: change(section.rows) } : section,
    ),
  };
}

describe("no real table is touched by a bundle when", () => {
  let database: TestDatabase;
  let bundle: Buffer;
  before(async () => {
    bundle = await freshBundle("acme");
    database = await createDatabase("import-incomplete", "n-kudo", {
      settings: { "seed.big": "off" },
    });
    await deleteTenant(database, "acme");
  });
  after(() => database.drop());

  for (const [what, corrupt] of Object.entries(corruptions)) {
    test(what, async () => {
      const bytes = putTogether(corrupt(takeApart(bundle)), "jsonl");
      assert.notDeepEqual(bytes, bundle);
      await assertImportRefused(
        database,
        bytes,
        {},
        { exitCode: 3, message: /corrupt|incomplete|invalid/ },
      );
    });
  }

  test("it was cut, wherever", async () => {
    const random = seededRandom(38);
    for (const form of ["jsonl", "jsonl.zst", "jsonl.gz"] as const) {
      const bytes = compressed(form, bundle);
      for (let i = 0; i < 4; i += 1) {
        await assertImportRefused(
          database,
          bytes.subarray(0, Math.floor(random() * (bytes.length - 1)) + 1),
          {},
          { exitCode: 3, message: /./ },
        );
      }
    }
  });

  test("a row does not fit its table, however right its hash is; no value is quoted", async () => {
    for (const [change, message] of [
      [
        { created_at: "yesterday noon" },
        /^row 2 of table "public\.sites" is invalid: column "created_at"/,
      ],
      [
        { location_country_code: 5 },
        /^row 2 of table "public\.sites" is invalid: column "location/,
      ],
      [
        { connectivity_state: "LOST" },
        /^public\.sites \(id\)=.* violates the check "sites_connect/,
      ],
      [{ surplus: 1 }, /^row 2 of table "public\.sites" is invalid: column "surplus" is not/],
      [{ id: undefined }, /^row 2 of table "public\.sites" is invalid: column "id" is missing/],
    ] as const) {
      const forged = await forge(bundle, {
        rows: { sites: (rows) => rows.with(1, { ...rows[1], ...change }) },
      });
      const error = await assertImportRefused(database, forged, {}, { exitCode: 3, message });
      assert.doesNotMatch(error.message, /yesterday|LOST/);
    }
  });

  test("nothing of this is the case, it is imported", async () => {
    assert.equal((await importBytes(database.url, bundle)).applied, true);
  });
});
