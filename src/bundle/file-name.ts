import { AppError, ExitCode } from "../errors.ts";
import type { Compression } from "./layers.ts";
import type { BundleLayout } from "./writer.ts";

export interface NamedLayers {
  readonly layout: BundleLayout | undefined;
  readonly compression: Compression | undefined;
}

/**
 * What a file's name says about its layers: `.jsonl` and `.json` without a further suffix mean
 * no compression; a name of another kind says nothing.
 *
 * @throws {AppError} exit 2 for a name that promises encryption, which there is not
 */
export function layersOfName(name: string): NamedLayers {
  const lower = name.toLowerCase();
  if (/\.(age|enc|gpg)$/.test(lower)) {
    throw new AppError(
      "no-encryption",
      ExitCode.usage,
      `the name "${name}" promises an encrypted file, and bundles are not encrypted yet`,
      { hint: `Encrypt on the way: pgtenant export TENANT -o - | age -r RECIPIENT -o "${name}"` },
    );
  }
  const [, layout, compression] = /\.(jsonl|json)?(?:\.?(zst|gz))?$/.exec(lower) ?? [];
  return {
    layout: layout === "json" || layout === "jsonl" ? layout : undefined,
    compression:
      compression === "zst"
        ? "zstd"
        : compression === "gz"
          ? "gzip"
          : layout === undefined
            ? undefined
            : "none",
  };
}
