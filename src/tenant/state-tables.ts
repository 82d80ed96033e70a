/**
 * N-Kudo's own state document, version 1.0, as its program writes it: which array holds the rows
 * of which table, and under which keys. Its structures lack columns, and some keys are no column's.
 */
export interface StateTable {
  readonly name: string;
  /** The document's key with the rows. */
  readonly array: string;
  /** Every column of the table, in its order. */
  readonly columns: readonly StateColumn[];
  /** Keys of the document that are not called as their column. */
  readonly aliases: Readonly<Record<string, string>>;
  /** Keys that no column stands for, each with the reason. */
  readonly without: Readonly<Record<string, string>>;
  /** Columns without which a row is no row. */
  readonly required: readonly string[];
  /** Columns that N-Kudo does not write, or not always, and without which a row stays out. */
  readonly restoredBy: readonly string[];
  readonly references: readonly StateReference[];
  readonly chain?: { readonly order: string; readonly previous: string; readonly own: string };
}

export interface StateColumn {
  readonly name: string;
  readonly type: string;
  readonly nullable: boolean;
  /** N-Kudo writes it unless it is empty, so that its absence means NULL. */
  readonly written?: boolean;
  /** The JSON text of the value that an absent key stands for, where it is not NULL. */
  readonly whenAbsent?: string;
}

export interface StateReference {
  readonly columns: readonly string[];
  readonly table: string;
  readonly to: readonly string[];
  /** The column of `columns` that holds the other row's id. */
  readonly by: string;
}

export const stateVersion = "1.0";
export const rootTable = "public.tenants";

const column = (name: string, type: string): StateColumn => ({ name, type, nullable: false });
const nullable = (name: string, type: string): StateColumn => ({ name, type, nullable: true });
/** Left out by N-Kudo when it is empty. */
const optional = (name: string, type: string): StateColumn => ({
  ...nullable(name, type),
  written: true,
});
const time = "timestamp with time zone";

const toTable = (by: string, table: string): StateReference => ({
  columns: [by, "tenant_id"],
  table,
  to: ["id", "tenant_id"],
  by,
});

/** Parents first, as a bundle has them. */
export const stateTables: readonly StateTable[] = [
  {
    name: rootTable,
    array: "tenant",
    columns: [
      column("id", "uuid"),
      column("slug", "text"),
      column("name", "text"),
      column("primary_region", "text"),
      column("data_retention_days", "integer"),
      column("created_at", time),
      column("updated_at", time),
    ],
    aliases: {},
    without: {},
    required: ["id"],
    restoredBy: ["id", "slug", "name"],
    references: [],
  },
  {
    name: "public.sites",
    array: "sites",
    columns: [
      column("id", "uuid"),
      column("tenant_id", "uuid"),
      column("name", "text"),
      optional("external_key", "text"),
      optional("location_country_code", "character(2)"),
      nullable("netbird_network_id", "text"),
      column("connectivity_state", "text"),
      optional("last_heartbeat_at", time),
      nullable("created_by_user_id", "uuid"),
      column("created_at", time),
      column("updated_at", time),
    ],
    aliases: {},
    without: {},
    required: ["id", "tenant_id", "name"],
    restoredBy: [],
    references: [toTable("created_by_user_id", "public.users")],
  },
  {
    name: "public.hosts",
    array: "hosts",
    columns: [
      column("id", "uuid"),
      column("tenant_id", "uuid"),
      column("site_id", "uuid"),
      column("hostname", "text"),
      column("cpu_cores_total", "integer"),
      column("memory_bytes_total", "bigint"),
      column("storage_bytes_total", "bigint"),
      column("kvm_available", "boolean"),
      column("cloud_hypervisor_available", "boolean"),
      optional("last_facts_at", time),
      column("created_at", time),
      column("updated_at", time),
    ],
    aliases: {},
    without: {
      agent_state: "it is the agent's, and the document has no agents",
      agent_last_heartbeat_at: "it is the agent's, and the document has no agents",
    },
    required: ["id", "tenant_id", "site_id", "hostname"],
    restoredBy: [],
    references: [toTable("site_id", "public.sites")],
  },
  {
    name: "public.microvms",
    array: "microvms",
    columns: [
      column("id", "uuid"),
      column("tenant_id", "uuid"),
      column("site_id", "uuid"),
      optional("host_id", "uuid"),
      column("name", "text"),
      column("state", "public.microvm_state"),
      column("vcpu_count", "integer"),
      column("memory_mib", "bigint"),
      nullable("kernel_image_path", "text"),
      nullable("rootfs_path", "text"),
      column("net_ifaces", "jsonb"),
      nullable("cloud_hypervisor_vm_ref", "text"),
      optional("last_transition_at", time),
      column("created_at", time),
      column("updated_at", time),
    ],
    aliases: {},
    without: {},
    required: ["id", "tenant_id", "site_id", "name", "vcpu_count", "memory_mib"],
    restoredBy: [],
    references: [toTable("site_id", "public.sites"), toTable("host_id", "public.hosts")],
  },
  {
    name: "public.api_keys",
    array: "api_keys",
    columns: [
      column("id", "uuid"),
      column("tenant_id", "uuid"),
      column("name", "text"),
      column("key_hash", "text"),
      optional("expires_at", time),
      optional("last_used_at", time),
      nullable("revoked_at", time),
      column("created_at", time),
    ],
    aliases: {},
    without: {},
    required: ["id", "tenant_id", "name"],
    restoredBy: ["key_hash"],
    references: [],
  },
  {
    name: "public.enrollment_tokens",
    array: "enrollment_tokens",
    columns: [
      column("id", "uuid"),
      column("tenant_id", "uuid"),
      column("site_id", "uuid"),
      column("token_hash", "text"),
      column("expires_at", time),
      optional("used_at", time),
      column("created_at", time),
    ],
    aliases: {
      ID: "id",
      TenantID: "tenant_id",
      SiteID: "site_id",
      TokenHash: "token_hash",
      ExpiresAt: "expires_at",
      consumed_at: "used_at",
    },
    without: {
      consumed: "used_at says it",
      consumed_by_agent_id: "N-Kudo's database does not hold it",
    },
    required: ["id", "tenant_id", "site_id"],
    restoredBy: ["token_hash", "expires_at"],
    references: [toTable("site_id", "public.sites")],
  },
  {
    name: "public.audit_events",
    array: "audit_events",
    columns: [
      column("id", "bigint"),
      column("tenant_id", "uuid"),
      optional("site_id", "uuid"),
      column("actor_type", "text"),
      optional("actor_user_id", "uuid"),
      optional("actor_agent_id", "uuid"),
      column("action", "text"),
      column("resource_type", "text"),
      column("resource_id", "text"),
      optional("request_id", "text"),
      optional("source_ip", "inet"),
      { ...column("metadata_json", "jsonb"), written: true, whenAbsent: '"{}"' },
      column("occurred_at", time),
      column("prev_hash", "text"),
      column("entry_hash", "text"),
      column("chain_valid", "boolean"),
    ],
    aliases: {},
    without: {},
    required: ["id", "tenant_id", "actor_type", "action", "resource_type", "resource_id"],
    restoredBy: [],
    references: [
      toTable("site_id", "public.sites"),
      toTable("actor_user_id", "public.users"),
      toTable("actor_agent_id", "public.agents"),
    ],
    chain: { order: "id", previous: "prev_hash", own: "entry_hash" },
  },
];

/** Says nothing without a hash, which N-Kudo does not always write. */
export const chainColumns = ["prev_hash", "entry_hash", "chain_valid"];

/** N-Kudo writes the newest events only, and no more than these. */
export const mostAuditEvents = 10_000;

/** Arrays that N-Kudo has in its document and never fills. */
export const neverFilled: Readonly<Record<string, string>> = {
  agents: "public.agents",
  plans: "public.plans",
};
