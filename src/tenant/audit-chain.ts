import { createHash } from "node:crypto";

/** What N-Kudo's hash of an audit event is made of. */
export interface AuditEntry {
  readonly tenantId: string;
  readonly siteId: string | null;
  readonly actorType: string;
  readonly actorUserId: string | null;
  readonly actorAgentId: string | null;
  readonly action: string;
  readonly resourceType: string;
  readonly resourceId: string;
  readonly requestId: string | null;
  readonly sourceIp: string | null;
  /** The text of the JSON document, whose bytes count. */
  readonly metadata: string | null;
  /** UTC, with microseconds: `2026-01-15T08:00:00.000001`. */
  readonly occurredAt: string;
  readonly previousHash: string;
  readonly chainValid: boolean;
}

/** What the first event of all links to. */
export const noPreviousHash = "0".repeat(64);

/** The hash of an audit event as N-Kudo makes it: of the JSON that Go's encoding/json writes. */
export function entryHash(entry: AuditEntry): string {
  return createHash("sha256").update(entryJson(entry)).digest("hex");
}

export function entryJson(entry: AuditEntry): string {
  const optional = (name: string, value: string | null): readonly [string, string][] =>
    value === null || value === "" ? [] : [[name, goString(value)]];
  // A pointer that is set is written even if it points to an empty text.
  const pointer = (name: string, value: string | null): readonly [string, string][] =>
    value === null ? [] : [[name, goString(value)]];
  const members: readonly (readonly [string, string])[] = [
    ["tenant_id", goString(entry.tenantId)],
    ...optional("site_id", entry.siteId),
    ["actor_type", goString(entry.actorType)],
    ...pointer("actor_user_id", entry.actorUserId),
    ...pointer("actor_agent_id", entry.actorAgentId),
    ["action", goString(entry.action)],
    ["resource_type", goString(entry.resourceType)],
    ["resource_id", goString(entry.resourceId)],
    ...optional("request_id", entry.requestId),
    ...optional("source_ip", entry.sourceIp),
    ...optional("metadata_json", base64(entry.metadata)),
    ["occurred_at", goString(goTime(entry.occurredAt))],
    ["prev_hash", goString(entry.previousHash)],
    ["chain_valid", String(entry.chainValid)],
  ];
  return `{${members.map(([name, value]) => `"${name}":${value}`).join(",")}}`;
}

function base64(text: string | null): string | null {
  return text === null ? null : Buffer.from(text, "utf8").toString("base64");
}

/** Go escapes what HTML or JavaScript would take for its own; else it writes as JavaScript does. */
function goString(text: string): string {
  return JSON.stringify(text).replace(
    /[<>&\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** RFC3339Nano in UTC: zeros at the end of the fraction are cut, and the point with them. */
function goTime(time: string): string {
  const [seconds = "", fraction = ""] = time.split(".");
  const digits = fraction.replace(/0+$/, "");
  return digits === "" ? `${seconds}Z` : `${seconds}.${digits}Z`;
}
