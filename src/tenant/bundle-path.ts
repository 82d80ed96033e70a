import { lstat, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Encryption, encryptionSuffix } from "../bundle/encryption.ts";
import type { TenantIdentity } from "../bundle/format.ts";
import { type Compression, compressionSuffix } from "../bundle/layers.ts";
import type { BundleLayout } from "../bundle/writer.ts";
import { isS3Url, parseS3Url } from "../storage/s3-url.ts";

/**
 * Where a bundle goes; a dated name is made in a folder. A path may be an `s3://` URL, where a
 * folder is what ends with a slash or has no key at all.
 */
export type Destination =
  | { readonly kind: "stdout" }
  | { readonly kind: "file"; readonly path: string }
  /** With `perTenant`, in a folder of each tenant's own below it. */
  | { readonly kind: "folder"; readonly path: string; readonly perTenant: boolean };

/** What a bundle's name tells of it. */
export interface BundleForm {
  readonly layout: BundleLayout;
  readonly compression: Compression;
  readonly encryption: Encryption;
}

/**
 * The path of a tenant's bundle, or `-`; `taken` holds those of the same run, and gets this one.
 * A dated name is of that second, or where a file has it and `next` allows it, of one right behind.
 */
export async function bundlePath(
  destination: Destination,
  form: BundleForm,
  tenant: TenantIdentity,
  createdAt: string,
  taken: Set<string>,
  next: boolean,
): Promise<string> {
  if (destination.kind === "stdout") return "-";
  const inFolder =
    destination.kind === "folder" ||
    destination.path.endsWith("/") ||
    (await isFolder(destination.path));
  if (!inFolder) return destination.path;
  const perTenant = destination.kind === "folder" && destination.perTenant;
  // Two tenants whose names differ only in characters that no file name may hold.
  const names = [tenant, { ...tenant, slug: `${tenant.slug}_${tenant.id}` }];
  for (let time = Date.parse(createdAt); ; time += 1_000) {
    const at = new Date(time).toISOString();
    const path = names
      .map((named) => datedPath(destination.path, perTenant, named, at, form))
      .find((one) => !taken.has(one.toLowerCase()));
    if (path === undefined) throw new Error("two tenants have the same key");
    if (next && (await isThere(path))) continue;
    taken.add(path.toLowerCase());
    return path;
  }
}

/** `tenant_acme_20240101_120000.jsonl.zst[.age]`, in the tenant's folder below the backup folder. */
export function defaultOutputName(
  tenant: TenantIdentity,
  createdAt: string,
  { layout, compression, encryption }: BundleForm,
): { readonly folder: string; readonly file: string } {
  const slug = (tenant.slug ?? tenant.id).replace(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "_");
  const time = createdAt.slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
  return {
    folder: slug,
    file: `tenant_${slug}_${time}.${layout}${compressionSuffix[compression]}${encryptionSuffix[encryption.method]}`,
  };
}

function datedPath(
  folder: string,
  perTenant: boolean,
  tenant: TenantIdentity,
  createdAt: string,
  form: BundleForm,
): string {
  const name = defaultOutputName(tenant, createdAt, form);
  const path = perTenant ? join(name.folder, name.file) : name.file;
  // The slashes after "s3:" are no folders.
  return isS3Url(folder) ? `${folder.replace(/\/$/, "")}/${path}` : join(folder, path);
}

async function isThere(path: string): Promise<boolean> {
  return !isS3Url(path) && (await lstat(path).catch(() => undefined)) !== undefined;
}

async function isFolder(path: string): Promise<boolean> {
  if (isS3Url(path)) return parseS3Url(path).key === "";
  return await stat(path).then(
    (info) => info.isDirectory(),
    () => false,
  );
}
