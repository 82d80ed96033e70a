import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import zlib from "node:zlib";
import { nKudo } from "../../src/profile/n-kudo.ts";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import { assertFailure, errorDocument } from "../harness/assert-failure.ts";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { assertUnchanged, digestOf } from "../harness/digest.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

suite("commands that are given the wrong tenant or file", () => {
  let database: TestDatabase;
  let folder: string;
  let digest: DatabaseDigest;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("bad input", "n-kudo", { settings: { "seed.big": "off" } });
    digest = await digestOf(database.url);
  });
  after(async () => {
    await assertUnchanged(database.url, digest);
    await rm(folder, { recursive: true });
    await database.drop();
  });

  /** A file of this content, by a name of its own. */
  async function fileOf(name: string, content: string | Uint8Array): Promise<string> {
    const path = join(folder, name);
    await writeFile(path, content);
    return path;
  }

  test("an unknown tenant is refused, with the names that are near", async () => {
    const near = await pgtenant(["export", "acm"], { url: database.url });
    assertFailure(near, {
      code: 2,
      message: /^pgtenant: there is no tenant "acm"$/,
      hint: /^hint: Did you mean "acme"\?$/,
    });
    const byName = await pgtenant(["export", "Globex Corporatoin"], { url: database.url });
    assertFailure(byName, { code: 2, message: /no tenant "Globex Cor/, hint: /mean "globex"\?$/ });
    const far = await pgtenant(["export", "umbrella", "--json"], { url: database.url });
    assert.equal(far.code, 2);
    const { code, hint, near: list } = errorDocument(far);
    assert.deepEqual(
      { code, hint, list },
      {
        code: "no-such-tenant",
        hint: "A tenant is named by its id or slug; pgtenant tenants lists them.",
        list: [],
      },
    );
  });

  test("a word that names two tenants is refused, and both are named", async () => {
    const profile = await fileOf(
      "two-lookups.json",
      JSON.stringify({ ...nKudo, root: { ...nKudo.root, lookup: ["slug", "name"] } }),
    );
    const twin = await createDatabase("ambiguous", "n-kudo", { settings: { "seed.big": "off" } });
    try {
      await twin.query("UPDATE tenants SET name = 'acme' WHERE slug = 'globex'");
      const args = ["export", "acme", "-o", join(folder, "never"), "--profile", profile];
      assertFailure(await pgtenant(args, { url: twin.url }), {
        code: 2,
        message: /^pgtenant: "acme" names 2 tenants: "acme" \([0-9a-f-]{36}\), "globex" \(/,
        hint: /^hint: Name the tenant by its id\.$/,
      });
      const byId = await twin.query<{ id: string }>("SELECT id FROM tenants WHERE slug = 'acme'");
      const found = await pgtenant(["export", byId[0]?.id ?? "", ...args.slice(2)], {
        url: twin.url,
      });
      assert.equal(found.code, 0, found.stderr);
    } finally {
      await twin.drop();
    }
  });

  test("a file that is not there, or is a folder, is refused by every command that reads one", async () => {
    const missing = join(folder, "missing.jsonl.zst");
    for (const command of ["import", "verify", "inspect"]) {
      assertFailure(await pgtenant([command, missing], { url: database.url }), {
        code: 2,
        message: /^pgtenant: there is no file ".*missing\.jsonl\.zst"$/,
        hint: /^hint: Check the path\.$/,
      });
      assertFailure(await pgtenant([command, folder], { url: database.url }), {
        code: 2,
        message: /^pgtenant: "\/.*" is a folder$/,
        hint: /^hint: Give the path of one file\.$/,
      });
    }
  });

  test("an empty file or an empty pipe is refused", async () => {
    const empty = await fileOf("empty.jsonl.zst", "");
    for (const command of ["import", "verify", "inspect"]) {
      const message = /^pgtenant: (".*empty\.jsonl\.zst"|the standard input) is empty$/;
      const hint = /another copy/;
      const options = { url: database.url };
      assertFailure(await pgtenant([command, empty], options), { code: 3, message, hint });
      assertFailure(await pgtenant([command, "-"], options), { code: 3, message, hint });
    }
  });

  const state = JSON.stringify(
    { version: "1.0", tenant: { id: "1", slug: "acme" }, sites: [], exported_at: "2026-01-01" },
    null,
    2,
  );
  const strangers: readonly (readonly [what: string, content: string | Uint8Array])[] = [
    ["a text", "hello\nworld\n"],
    ["a compressed text", zlib.gzipSync("hello\nworld\n")],
    ["a text in a zstd frame", zlib.zstdCompressSync("hello\nworld\n")],
    ["a state document of N-Kudo", state],
    ["a state document on one line", JSON.stringify(JSON.parse(state))],
    ["a JSON array", "[]"],
    ["binary data", Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 151 + 7) % 256))],
  ];
  for (const [what, content] of strangers) {
    test(`${what} is refused as not being a bundle`, async () => {
      const path = await fileOf(
        `stranger ${strangers.findIndex(([name]) => name === what)}`,
        content,
      );
      assertFailure(await pgtenant(["import", path], { url: database.url }), {
        code: 3,
        message: /^pgtenant: ".*stranger \d" is not a pgtenant bundle$/,
        hint: /bundle/i,
      });
    });
  }

  test("a pg_dump file is recognised and refused", async () => {
    for (const format of ["custom", "plain"]) {
      const path = join(folder, `dump.${format}`);
      await promisify(execFile)("pg_dump", [
        `-F${format}`,
        "-t",
        "tenants",
        "-f",
        path,
        database.url,
      ]);
      assertFailure(await pgtenant(["import", path], { url: database.url }), {
        code: 3,
        message: /^pgtenant: ".*" is a pg_dump file, not a tenant bundle$/,
        hint: /pg_restore or psql/,
      });
    }
  });

  test("a bundle of a newer format is refused by name", async () => {
    const { bytes } = await exportBundle(database.url, "acme");
    const newer = bytes.toString().replace('"format":1', '"format":2');
    const path = await fileOf("newer.jsonl", newer);
    for (const command of ["import", "verify", "inspect"]) {
      assertFailure(await pgtenant([command, path], { url: database.url }), {
        code: 3,
        message: /^pgtenant: ".*" has bundle format 2; this version of pgtenant reads up to 1$/,
        hint: /^hint: Use the version of pgtenant that wrote the bundle, or a newer one\.$/,
      });
    }
  });

  test("a bundle that was made with another profile is refused", async () => {
    const { bytes } = await exportBundle(database.url, "acme");
    const path = await fileOf("ours.jsonl", bytes);
    const profile = await fileOf("other-name.json", JSON.stringify({ ...nKudo, name: "mine" }));
    const result = await pgtenant(["import", path, "--profile", profile], { url: database.url });
    assertFailure(result, {
      code: 2,
      message: /was made with profile "n-kudo" version 1, this is profile "mine" version 1$/,
      hint: /--profile FILE\.$/,
    });
    assert.equal((await readFile(path)).compare(bytes), 0);
  });

  test("a profile that cannot be read, or is none, is refused", async () => {
    const noJson = await fileOf("no-json.json", "{");
    const invalid = await fileOf("invalid.json", '{"root":{"tabel":"public.tenants"}}');
    const cases = [
      [join(folder, "no-such.json"), /the profile ".*" cannot be read$/, /path of a JSON file/],
      [noJson, /the profile ".*" is not JSON$/, /jq/],
      [invalid, /the profile ".*" is invalid: /, /profile\.schema\.json/],
    ] as const;
    for (const [profile, message, hint] of cases) {
      const result = await pgtenant(["tenants", "--profile", profile], { url: database.url });
      assertFailure(result, { code: 2, message, hint });
    }
  });
});
