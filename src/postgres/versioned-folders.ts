import { readdir } from "node:fs/promises";
import { join } from "node:path";

/** Folders with one subfolder a version, and where in it the programs are. */
const parents = [
  { parent: "/usr/lib/postgresql", pattern: /^(\d+)$/, bin: "bin" }, // Debian
  { parent: "/usr", pattern: /^pgsql-(\d+)$/, bin: "bin" }, // Red Hat
  { parent: "/usr/libexec", pattern: /^postgresql(\d+)$/, bin: "." }, // Alpine
  { parent: "/opt/homebrew/opt", pattern: /^postgresql@(\d+)$/, bin: "bin" },
  { parent: "/usr/local/opt", pattern: /^postgresql@(\d+)$/, bin: "bin" },
];

/** Where the packagers put PostgreSQL's programs, from this major version on, the newest first. */
export async function versionedFolders(
  oldestMajor: number,
): Promise<readonly { readonly major: number; readonly binDir: string }[]> {
  const found: { major: number; binDir: string }[] = [];
  for (const { parent, pattern, bin } of parents) {
    for (const name of await readdir(parent).catch(() => [])) {
      const major = Number(pattern.exec(name)?.[1]);
      if (major >= oldestMajor) found.push({ major, binDir: join(parent, name, bin) });
    }
  }
  return found.sort((a, b) => b.major - a.major);
}
