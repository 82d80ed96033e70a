import { AppError, ExitCode } from "../errors.ts";
import type { Compression } from "./layers.ts";
import type { BundleLayout } from "./writer.ts";

export interface NamedLayers {
  readonly layout: BundleLayout | undefined;
  readonly compression: Compression | undefined;
  /** Undefined for a name of another kind. */
  readonly encryption: "age" | "none" | undefined;
}

/**
 * What a file's name says about its layers: `.jsonl` and `.json` without a further suffix mean
 * no compression, without `.age` no encryption; a name of another kind says nothing.
 *
 * @throws {AppError} exit 2 for a name that promises an encryption that bundles do not have
 */
export function layersOfName(name: string): NamedLayers {
  const lower = name.toLowerCase();
  if (/\.(enc|gpg)$/.test(lower)) {
    throw new AppError(
      "no-such-encryption",
      ExitCode.usage,
      `the name "${name}" promises another encryption than age, the only one of bundles`,
      { hint: `Name it ${name.replace(/\.[^.]+$/, ".age")}.` },
    );
  }
  const encrypted = lower.endsWith(".age");
  const inner = encrypted ? lower.slice(0, -".age".length) : lower;
  const [, layout, compression] = /\.(jsonl|json)?(?:\.?(zst|gz))?$/.exec(inner) ?? [];
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
    encryption: encrypted ? "age" : layout === undefined ? undefined : "none",
  };
}
