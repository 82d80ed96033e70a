import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { ImportPlan } from "../../src/tenant/import-types.ts";
import { assertChain } from "../harness/audit-chain.ts";
import { pgtenant } from "../harness/command.ts";
import { assertUnchanged, digestOf, withDatabase } from "../harness/import.ts";

test("import --as-tenant shows the clone, makes it, writes it down, and refuses a second of its name", () =>
  withDatabase("command-clone", async (database) => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-clone-"));
    try {
      const options = { url: database.url, env: { BACKUP_DIR: folder } };
      const bundle = join(folder, "acme.jsonl.zst");
      const run = async (code: number, ...args: readonly string[]) => {
        const result = await pgtenant(args, options);
        assert.equal(result.code, code, result.stderr);
        return { stdout: result.stdout.toString(), stderr: result.stderr };
      };
      await run(0, "export", "acme", "-o", bundle);
      const flags = [
        "--as-tenant",
        "acme-staging",
        "--name",
        "Acme (staging)",
        "--with-audit",
        "--audit",
      ];
      const before = await digestOf(database);
      const dry = await run(0, "import", bundle, ...flags, "--dry-run");
      await assertUnchanged(database, before);
      assert.match(
        dry.stdout,
        /^plan for tenant "acme-staging" \(Acme \(staging\)\), a clone of "acme", mode missing:$/m,
      );
      assert.match(
        dry.stdout,
        /^ {2}public\.tenants: becomes a new tenant, a clone of "acme"; where texts and JSON hold/m,
      );
      assert.match(
        dry.stdout,
        /^ {2}public\.audit_events: an event "tenant\.cloned" is appended to the log/m,
      );
      assert.match(dry.stdout, /public\.api_keys.*a credential of the original/);
      assert.match(
        dry.stdout + dry.stderr,
        /to apply it: pgtenant import \S+acme\.jsonl\.zst.* --as-tenant acme-staging --name 'Acme \(staging\)' --with-audit --audit/,
      );
      const done = await run(0, "import", bundle, ...flags, "--json");
      const { plan, applied } = JSON.parse(done.stdout) as { plan: ImportPlan; applied: boolean };
      assert.equal(applied, true);
      assert.equal(plan.clonedFrom?.slug, "acme");
      await assertChain(database);
      const [tenant] = await database.query(
        "SELECT id, name FROM tenants WHERE slug = 'acme-staging'",
      );
      assert.deepEqual(tenant, { id: plan.tenant.id, name: "Acme (staging)" });

      const history = JSON.parse((await run(0, "history", "--json")).stdout) as unknown;
      assert.match(JSON.stringify(history), /"tenant":"acme-staging","clonedFrom":"acme"/);
      const twice = await run(4, "import", bundle, ...flags);
      assert.match(twice.stderr, /there is a tenant "acme-staging" already/);
      const lost = await run(2, "import", bundle, "--name", "x");
      assert.match(lost.stderr, /--name goes with --as-tenant/);
      const mode = await run(2, "import", bundle, ...flags, "--mode", "replace");
      assert.match(mode.stderr, /--as-tenant makes a new tenant/);
      const other = await run(
        2,
        "import",
        bundle,
        "--audit",
        "--profile",
        "fixtures/other/profile.json",
      );
      assert.match(other.stderr, /no table "app\.accounts"/);
    } finally {
      await rm(folder, { recursive: true });
    }
  }));
