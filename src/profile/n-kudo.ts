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
};
