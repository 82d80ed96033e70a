import assert from "node:assert/strict";
import { test } from "node:test";
import { edit, forge } from "../harness/forge.ts";
import { type ImportChoice, importBytes } from "../harness/import.ts";
import { type SmallSchema, withSmallSchema } from "../harness/small-schema.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const profile = {
  root: { table: "public.tenants", key: "id", lookup: ["slug"] },
  secrets: { "public.tokens": ["token_hash"] },
  oneWay: { "public.tokens": ["revoked_at"] },
  expire: { "public.tokens": { now: ["revoked_at"], set: {} } },
  appendOnly: ["public.events"],
  inFlight: {
    "public.tokens": { column: "state", states: ["open"], set: { state: "shut" }, clear: [] },
  },
};

const schema = `
  CREATE TABLE tenants (id integer PRIMARY KEY, slug text UNIQUE);
  CREATE TABLE tokens (
    token_hash text PRIMARY KEY, tenant_id integer NOT NULL REFERENCES tenants,
    label text UNIQUE, state text, size smallint CHECK (size < 100), revoked_at timestamptz);
  CREATE TABLE events (
    id integer PRIMARY KEY, token_hash text REFERENCES tokens, tenant_id integer NOT NULL REFERENCES tenants);
  INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
  INSERT INTO tokens SELECT 'hidden-' || n, 1, 'label ' || n, 'open', 1 FROM generate_series(1, 5) n;
  INSERT INTO events VALUES (1, 'hidden-1', 1);`;

const withTokens = (use: (small: SmallSchema, bundle: Buffer) => Promise<void>) =>
  withSmallSchema("secret-keys", schema, profile, async (small) => {
    const { bytes } = await exportBundle(small.database.url, "one", { profile: small.profile });
    await use(small, bytes);
  });

/** Everything that an import has to say, or that stands against it. */
async function toldBy(small: SmallSchema, bundle: Buffer, choice: ImportChoice): Promise<string> {
  const dry = { dryRun: true, profile: small.profile, ...choice };
  return await importBytes(small.database.url, bundle, dry).then(
    ({ plan }) => JSON.stringify(plan),
    (error: Error) => error.message + JSON.stringify(error),
  );
}

const damages: readonly (readonly [string, string, ImportChoice])[] = [
  ["comes back as a valid credential", "DELETE FROM tokens WHERE token_hash > 'hidden-1'", {}],
  [
    "comes back revoked",
    "DELETE FROM tokens WHERE token_hash > 'hidden-1'",
    { expireCredentials: true },
  ],
  ["is never cleared", "UPDATE tokens SET revoked_at = now()", { mode: "overwrite" }],
  ["comes back shut", "DELETE FROM tokens WHERE token_hash > 'hidden-1'", { keepInFlight: false }],
  ["and stays so", "UPDATE tokens SET state = 'new'", { mode: "overwrite", keepInFlight: false }],
  [
    "that stay refer to it",
    `INSERT INTO tokens VALUES ('hidden-9', 1, 'nine'); INSERT INTO events VALUES (9, 'hidden-9', 1)`,
    { mode: "replace" },
  ],
  ["holds", "UPDATE tokens SET token_hash = 'hidden-8' WHERE token_hash = 'hidden-5'", {}],
  [
    "stays out",
    "UPDATE tokens SET token_hash = 'hidden-8' WHERE token_hash = 'hidden-5'",
    { onCollision: "skip" },
  ],
  [
    "belongs to another tenant",
    "UPDATE tokens SET tenant_id = 2 WHERE token_hash <> 'hidden-1'",
    {},
  ],
  [
    "is needed",
    "DELETE FROM events; DELETE FROM tokens",
    { selection: { select: ["public.events"], exclude: [] } },
  ],
];

for (const [said, damage, choice] of damages) {
  test(`a key that is a secret is not told: ${said}`, () =>
    withTokens(async (small, bundle) => {
      await small.database.query(damage);
      const told = await toldBy(small, bundle, choice);
      assert.ok(told.includes(said), told);
      assert.match(told, /\(token_hash\)=\(\*\*\*\)/);
      assert.doesNotMatch(told, /hidden-/);
    }));
}

test("nor is it where a row of the bundle is not valid, or stands in it twice", () =>
  withTokens(async (small, bundle) => {
    await small.database.query("DELETE FROM events; DELETE FROM tokens");
    const forgeries = [
      { tokens: edit({ size: 200 }) },
      { tokens: edit({ label: "label 4" }) },
      { tokens: edit({ tenant_id: 2 }) },
      { tokens: edit({ token_hash: "hidden-3" }) },
    ];
    for (const rows of forgeries) {
      const told = await toldBy(small, await forge(bundle, { rows }), {});
      assert.match(told, /\(token_hash\)=\(\*\*\*\)/);
      assert.doesNotMatch(told, /hidden-/);
    }
  }));
