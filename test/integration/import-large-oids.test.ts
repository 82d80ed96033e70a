import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { Client } from "pg";
import { serverAccount } from "../../src/postgres/server-account.ts";
import {
  fastSettings,
  type ThrowawayServer,
  withThrowawayServer,
} from "../../src/postgres/throwaway-server.ts";
import { changesOf, importBytes } from "../harness/import.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const server = {
  binDir: process.env.PGTENANT_PG_BIN,
  path: process.env.PATH,
  settings: fastSettings,
};

const profile = {
  name: "large-oids",
  version: 1,
  root: { table: "public.tenants", key: "id", lookup: ["slug"] },
};

async function query<Row>({ url }: ThrowawayServer, sql: string): Promise<readonly Row[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows as Row[];
  } finally {
    await client.end();
  }
}

test("tables whose OIDs are beyond 2^31 are exported, and imported into", (context) =>
  withThrowawayServer(server, async (old) => {
    const [row] = await query<{ setting: string }>(
      old,
      "SELECT setting FROM pg_config WHERE name = 'BINDIR'",
    );
    const program = join(row?.setting ?? "", "pg_resetwal");
    if (!existsSync(program)) {
      context.skip("this PostgreSQL comes without pg_resetwal");
      return;
    }
    const account = await serverAccount();
    await old.stop("fast");
    await promisify(execFile)(program, ["-o", "3000000000", "-D", old.dataDir], {
      cwd: old.dataDir,
      ...(account && { uid: account.uid, gid: account.gid }),
    });
    await old.start();
    await query(
      old,
      `CREATE TYPE state AS ENUM ('new', 'old');
       CREATE TABLE tenants (id integer PRIMARY KEY, slug text UNIQUE);
       CREATE TABLE items (id bigserial, tenant_id integer NOT NULL REFERENCES tenants,
                           state state NOT NULL, PRIMARY KEY (id, tenant_id)) PARTITION BY RANGE (id);
       CREATE TABLE items_1 PARTITION OF items FOR VALUES FROM (0) TO (3);
       CREATE TABLE items_2 PARTITION OF items DEFAULT;
       INSERT INTO tenants VALUES (1, 'one'), (2, 'two');
       INSERT INTO items (tenant_id, state) SELECT 1 + n % 2, 'new' FROM generate_series(1, 8) n`,
    );
    const oids = await query<{ large: boolean }>(
      old,
      "SELECT oid::int8 > 2147483648 AS large FROM pg_class WHERE relname IN ('tenants', 'items_1')",
    );
    assert.deepEqual(oids, [{ large: true }, { large: true }]);
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      const path = join(folder, "profile.json");
      await writeFile(path, JSON.stringify(profile));
      const { bytes } = await exportBundle(old.url, "one", { profile: path });
      await query(old, "DELETE FROM items WHERE tenant_id = 1; DELETE FROM tenants WHERE id = 1");
      const result = await importBytes(old.url, bytes, { profile: path });
      assert.equal(result.applied, true);
      assert.deepEqual(changesOf(result), { items: "insert 4", tenants: "insert 1" });
    } finally {
      await rm(folder, { recursive: true });
    }
  }));
