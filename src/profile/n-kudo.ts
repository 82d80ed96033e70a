import type { Profile } from "./profile.ts";

/** N-Kudo's control plane, schema as of migration 0009. */
export const nKudo: Profile = {
  name: "n-kudo",
  version: 1,
  root: { table: "public.tenants", key: "id", lookup: ["slug"], label: "name" },
  migrations: { table: "public.schema_migrations", column: "version" },
  global: {
    "public.schema_migrations": "names of applied migrations, the same for every tenant",
  },
  references: [],
  ownership: {},
  oneWay: {
    "public.api_keys": ["revoked_at"],
    "public.certificate_history": ["revoked_at"],
    "public.email_verification_tokens": ["used_at"],
    "public.enrollment_tokens": ["used_at"],
    "public.password_reset_tokens": ["used_at"],
    "public.project_invitations": ["accepted_at", "declined_at", "cancelled_at"],
  },
  oneWayWith: { "public.project_invitations": ["status"] },
  appendOnly: ["public.audit_events", "public.crl_entries"],
  chain: {
    "public.audit_events": { order: "id", previous: "prev_hash", own: "entry_hash" },
  },
  secrets: {
    "public.agents": ["enrollment_token_hash", "refresh_token_hash"],
    "public.api_keys": ["key_hash"],
    "public.email_verification_tokens": ["token_hash"],
    "public.enrollment_tokens": ["token_hash"],
    "public.password_reset_tokens": ["token_hash"],
    "public.project_invitations": ["token_hash"],
    "public.users": ["password_hash"],
  },
  personal: {
    "public.tenants": { slug: "name", name: "name" },
    "public.users": { email: "email", display_name: "name" },
    "public.project_invitations": { email: "email" },
    "public.sites": { name: "name", external_key: "name" },
    "public.hosts": { hostname: "name" },
    "public.audit_events": { source_ip: "address", metadata_json: "json" },
    "public.execution_logs": { message: "text" },
    "public.executions": { error_message: "text" },
  },
  inFlight: {
    "public.plans": {
      column: "status",
      states: ["PENDING", "IN_PROGRESS"],
      set: { status: "CANCELLED" },
      clear: ["leased_by_agent_id", "lease_expires_at"],
    },
    "public.executions": {
      column: "state",
      states: ["PENDING", "IN_PROGRESS"],
      set: { state: "FAILED", error_code: "RESTORED" },
      clear: [],
    },
  },
  expire: {
    "public.api_keys": { now: ["revoked_at"], set: {} },
    "public.email_verification_tokens": { now: ["used_at"], set: {} },
    "public.enrollment_tokens": { now: ["used_at"], set: {} },
    "public.password_reset_tokens": { now: ["used_at"], set: {} },
    "public.project_invitations": { now: ["cancelled_at"], set: { status: "CANCELLED" } },
  },
  logs: {
    "public.audit_events": "occurred_at",
    "public.execution_logs": "emitted_at",
  },
  groups: {
    sites: { tables: ["public.sites"], row: "site", by: ["name", "external_key"] },
    hosts: { tables: ["public.hosts"], row: "host", by: ["hostname"] },
    agents: { tables: ["public.agents"], row: "agent", by: ["cert_serial"] },
    vms: { tables: ["public.microvms"], row: "vm", by: ["name"] },
    plans: { tables: ["public.plans"], row: "plan", by: ["idempotency_key"] },
    audit: { tables: ["public.audit_events"], by: [] },
    certificates: { tables: ["public.certificate_history", "public.crl_entries"], by: [] },
    networks: { tables: ["public.vxlan_networks"], row: "network", by: ["name"] },
    users: { tables: ["public.users"], row: "user", by: ["email"] },
    credentials: {
      tables: [
        "public.api_keys",
        "public.enrollment_tokens",
        "public.password_reset_tokens",
        "public.email_verification_tokens",
        "public.project_invitations",
      ],
      by: [],
    },
  },
  clone: {
    leaveOut: {
      "public.api_keys": "a credential of the original",
      "public.enrollment_tokens": "a credential of the original",
      "public.password_reset_tokens": "a credential of the original",
      "public.email_verification_tokens": "a credential of the original",
      "public.project_invitations": "a credential of the original",
      "public.certificate_history": "certificates that were issued to the original's agents",
      "public.crl_entries": "certificates that were issued to the original's agents",
    },
    drop: {
      "public.agents": ["enrollment_token_hash", "refresh_token_hash", "cert_serial"],
      "public.users": ["password_hash"],
    },
    renumber: { "public.vxlan_networks": { vni: { min: 1, max: 16_777_215 } } },
    ids: {},
  },
};
