import type { BundleHeader } from "../../bundle/format.ts";

/** `site=berlin, users; without audit; logs since 2026-01-31T00:00Z`, or whatever stands there. */
export function selectionText(selection: NonNullable<BundleHeader["selection"]>): string {
  const { select, exclude, since, ...other } = selection;
  const items = (value: unknown) => [value ?? []].flat().map(String);
  const parts = [items(select).join(", ") || "everything"];
  if (items(exclude).length > 0) parts.push(`without ${items(exclude).join(", ")}`);
  if (typeof since === "string") parts.push(`logs since ${since}`);
  if (Object.keys(other).length > 0) parts.push(JSON.stringify(other));
  return parts.join("; ");
}
