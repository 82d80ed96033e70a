import * as fc from "fast-check";
import type { Client } from "pg";
import { handMadeId } from "./hand-made.ts";

/** Something that happens to acme's rows. Rows are picked by number, modulo how many there are. */
export type Damage =
  | { readonly kind: "delete"; readonly table: string; readonly row: number }
  | { readonly kind: "edit"; readonly edit: number; readonly row: number }
  | {
      readonly kind: "copy" | "swap" | "remake";
      readonly column: number;
      readonly row: number;
      readonly other: number;
    }
  | { readonly kind: "insert"; readonly what: number; readonly row: number };

const deletable = [
  "tenants",
  "users",
  "sites",
  "hosts",
  "agents",
  "microvms",
  "plans",
  "executions",
  "execution_logs",
  "audit_events",
  "api_keys",
  "project_invitations",
  "vxlan_networks",
];

/** By table: SQL that changes one row. Some of it violates a constraint, and then did not happen. */
const edits: readonly (readonly [string, string])[] = [
  ["tenants", "name = name || '!'"],
  ["users", "display_name = 'x', role = 'VIEWER'"],
  ["sites", "external_key = NULL, created_by_user_id = NULL"],
  ["agents", "state = 'DEGRADED', heartbeat_seq = heartbeat_seq + 1"],
  ["microvms", "host_id = NULL"],
  ["plans", "status = 'CANCELLED', leased_by_agent_id = NULL"],
  ["executions", "error_code = 'E', vm_id = NULL"],
  ["execution_logs", "message = message || ' '"],
  ["audit_events", "action = 'changed'"],
  ["api_keys", "revoked_at = '2030-01-01', name = 'x'"],
  ["enrollment_tokens", "used_at = '2030-01-01'"],
  ["certificate_history", "revoked_at = '2030-01-01'"],
  ["vxlan_networks", "mtu = NULL, site_id = NULL"],
  ["crl_entries", "agent_id = NULL"],
  ["project_invitations", "status = 'CANCELLED', cancelled_at = '2030-01-01'"],
];

/** Columns under a unique index, and a value in between for a swap. */
const uniqueColumns: readonly (readonly [string, string, string])[] = [
  ["sites", "name", "'~'"],
  ["hosts", "hostname", "'~'"],
  ["microvms", "name", "'~'"],
  ["plans", "plan_version", "-1"],
  ["plans", "idempotency_key", "'~'"],
  ["execution_logs", "sequence", "-1"],
  ["api_keys", "key_hash", "'~'"],
  ["vxlan_networks", "vni", "-1"],
];

const index = (list: readonly unknown[]) => fc.nat({ max: list.length - 1 });
const row = fc.nat({ max: 999 });

export const damages: fc.Arbitrary<readonly Damage[]> = fc.array(
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant("delete" as const),
        table: fc.constantFrom(...deletable),
        row,
      }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant("edit" as const), edit: index(edits), row }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("copy" as const, "swap" as const, "remake" as const),
        column: index(uniqueColumns),
        row,
        other: row,
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("insert" as const), what: fc.nat({ max: 3 }), row }),
    },
  ),
  { minLength: 1, maxLength: 12 },
);

const acme = "(SELECT id FROM tenants WHERE slug = 'acme')";
const agents = `(SELECT id FROM agents WHERE tenant_id = ${acme})`;

function ofAcme(table: string): string {
  if (table === "tenants") return "slug = 'acme'";
  return table === "certificate_history" || table === "crl_entries"
    ? `agent_id IN ${agents}`
    : `tenant_id = ${acme}`;
}

/** The key of acme's row with this number, modulo how many there are. */
function pick(table: string, number: number): string {
  const key = table === "crl_entries" ? "serial" : "id";
  return `${key} = (SELECT ${key} FROM ${table} WHERE ${ofAcme(table)} ORDER BY ${key}
    OFFSET ${number} % (SELECT greatest(count(*), 1) FROM ${table} WHERE ${ofAcme(table)}) LIMIT 1)`;
}

function statements(damage: Damage, at: number): readonly string[] {
  const id = (n: number) => handMadeId(1000 * (at + 1) + n);
  switch (damage.kind) {
    case "delete":
      return [`DELETE FROM ${damage.table} WHERE ${pick(damage.table, damage.row)}`];
    case "edit": {
      const [table, change] = edits[damage.edit] ?? ["tenants", "name = name"];
      return [`UPDATE ${table} SET ${change} WHERE ${pick(table, damage.row)}`];
    }
    case "copy": {
      const [table, column] = uniqueColumns[damage.column] ?? ["sites", "name"];
      return [
        `UPDATE ${table} SET ${column} = (SELECT ${column} FROM ${table} WHERE ${pick(table, damage.other)})
          WHERE ${pick(table, damage.row)}`,
      ];
    }
    case "swap": {
      const [table, column, between] = uniqueColumns[damage.column] ?? ["sites", "name", "'~'"];
      return [
        `CREATE TEMP TABLE swap ON COMMIT DROP AS SELECT id, ${column} AS was,
                CASE WHEN ${pick(table, damage.row)} THEN 1 ELSE 2 END AS n
           FROM ${table} WHERE ${pick(table, damage.row)} OR ${pick(table, damage.other)}`,
        `UPDATE ${table} SET ${column} = ${between} WHERE id = (SELECT id FROM swap WHERE n = 1)`,
        `UPDATE ${table} SET ${column} = (SELECT was FROM swap WHERE n = 1) WHERE id = (SELECT id FROM swap WHERE n = 2)`,
        `UPDATE ${table} SET ${column} = (SELECT was FROM swap WHERE n = 2) WHERE id = (SELECT id FROM swap WHERE n = 1)`,
        "DROP TABLE swap",
      ];
    }
    case "remake": {
      const [table] = uniqueColumns[damage.column] ?? ["sites"];
      return [
        `CREATE TEMP TABLE remade ON COMMIT DROP AS SELECT * FROM ${table} WHERE ${pick(table, damage.row)}`,
        `DELETE FROM ${table} WHERE ${pick(table, damage.row)}`,
        `UPDATE remade SET id = ${table === "execution_logs" ? 20_000 + at : `'${id(3)}'`}`,
        `INSERT INTO ${table} SELECT * FROM remade`,
        "DROP TABLE remade",
      ];
    }
    case "insert":
      return [insertion(damage.what, damage.row, id, at)];
  }
}

function insertion(what: number, number: number, id: (n: number) => string, at: number): string {
  switch (what) {
    case 0: // a site made anew under a lost site's name, or under another one
      return `INSERT INTO sites (id, tenant_id, name)
        VALUES ('${id(0)}', ${acme}, '${number % 2 === 0 ? "Spare 3" : `extra ${at}`}')`;
    case 1:
      return `INSERT INTO microvms (id, tenant_id, site_id, name, vcpu_count, memory_mib)
        SELECT '${id(1)}', tenant_id, id, 'extra ${at}', 1, 1 FROM sites WHERE ${pick("sites", number)}`;
    case 2:
      return `INSERT INTO audit_events (id, tenant_id, site_id, actor_type, action, resource_type, resource_id)
        SELECT ${10_000 + at}, tenant_id, id, 'SYSTEM', 'x', 'site', 'x' FROM sites WHERE ${pick("sites", number)}`;
    default:
      return `INSERT INTO api_keys (id, tenant_id, name, key_hash)
        VALUES ('${id(2)}', ${acme}, 'extra', 'extra ${at}')`;
  }
}

/** Does all of it, as far as the constraints allow. */
export async function inflict(client: Client, damage: readonly Damage[]): Promise<void> {
  await client.query("BEGIN");
  for (const [at, one] of damage.entries()) {
    await client.query("SAVEPOINT damage");
    try {
      for (const statement of statements(one, at)) await client.query(statement);
    } catch {
      await client.query("ROLLBACK TO damage");
    }
  }
  await client.query("COMMIT");
}
