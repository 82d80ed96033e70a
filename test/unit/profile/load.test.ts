import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { nKudo } from "../../../src/profile/n-kudo.ts";
import type { Profile } from "../../../src/profile/profile.ts";
import { openProfile } from "../../../src/tenant/open-schema.ts";

async function load(content: string): Promise<Profile> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  try {
    const file = join(folder, "profile.json");
    await writeFile(file, content);
    return await openProfile(file);
  } finally {
    await rm(folder, { recursive: true });
  }
}

suite("a profile file", () => {
  test("of three lines gets a default for everything else", async () => {
    assert.deepEqual(await load('{\n"root": {"table": "app.accounts"}\n}'), {
      name: "custom",
      version: 1,
      root: { table: "app.accounts", key: "id", lookup: [] },
      global: {},
      references: [],
      ownership: {},
      oneWay: {},
      oneWayWith: {},
      appendOnly: [],
      chain: {},
      secrets: {},
      personal: {},
      inFlight: {},
      expire: {},
      logs: {},
      groups: {},
      clone: { leaveOut: {}, drop: {}, renumber: {}, ids: {} },
    });
  });

  test("may be each of the examples in docs/profile.md, which name every entry", async () => {
    const docs = await readFile(new URL("../../../docs/profile.md", import.meta.url), "utf8");
    const examples = [...docs.matchAll(/```json\n(.*?)```/gs)].map((match) => match[1] ?? "");
    const entries = new Set<string>();
    for (const example of examples) {
      await load(example);
      for (const entry of Object.keys(JSON.parse(example) as object)) entries.add(entry);
    }
    const schema = JSON.parse(
      await readFile(new URL("../../../schemas/profile.schema.json", import.meta.url), "utf8"),
    ) as { readonly properties: object };
    const described = Object.keys(schema.properties).filter((name) => name !== "$schema");
    assert.deepEqual([...entries].sort(), described.sort());
  });

  test("is not needed for the built-in one, which its own schema describes too", async () => {
    assert.equal(await openProfile("n-kudo"), nKudo);
    assert.deepEqual(await load(JSON.stringify(nKudo)), nKudo);
  });

  test("is refused with what is wrong and where: exit 2", async () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["{", /is not JSON$/],
      ["[]", /is invalid: the document must be object$/],
      ['{"root":{}}', /is invalid: \/root must have required property 'table'$/],
      ['{"root":{"table":"t"},"appendOnly":"t"}', /is invalid: \/appendOnly must be array$/],
      [
        '{"root":{"table":"t","lokup":[]}}',
        /is invalid: \/root must NOT have additional properties$/,
      ],
      ['{"root":{"table":"t"},"version":0}', /is invalid: \/version must be >= 1$/],
    ];
    for (const [content, message] of cases) {
      await assert.rejects(load(content), { code: "invalid-profile", exitCode: 2, message });
    }
  });
});
