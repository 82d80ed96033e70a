import type { Argv } from "yargs";
import type { Compression } from "../bundle/layers.ts";
import type { BundleLayout } from "../bundle/writer.ts";
import type { BundleForm, Destination } from "../tenant/bundle-path.ts";
import type { Context } from "./command.ts";
import { type EncryptArguments, encryptionOf, withEncryptOptions } from "./key-options.ts";
import { usage } from "./options.ts";

/** The options of a command that writes a bundle. */
export interface BundleOutputArguments extends EncryptArguments {
  output?: string | undefined;
  format?: BundleLayout | undefined;
  compress?: Compression | undefined;
  overwrite: boolean;
}

export function withBundleOutput<T>(yargs: Argv<T>) {
  return withEncryptOptions(
    yargs
      .option("output", {
        alias: "o",
        type: "string",
        requiresArg: true,
        describe: "a file, a folder, an s3:// URL, or - for the standard output",
        defaultDescription: "a dated file in BACKUP_DIR/tenants/SLUG",
      })
      .option("format", {
        choices: ["jsonl", "json"] as const,
        requiresArg: true,
        describe: "JSON Lines, or one JSON document",
        defaultDescription: "by the name after -o, else jsonl",
      })
      .option("compress", {
        choices: ["zstd", "gzip", "none"] as const,
        requiresArg: true,
        describe: "how the bundle is compressed",
        defaultDescription: "by the name after -o, else zstd; none for -o -",
      }),
  ).option("overwrite", {
    type: "boolean",
    default: false,
    describe: "replace a file that exists",
  });
}

export interface BundleOutput extends BundleForm {
  readonly destination: Destination;
}

/**
 * Where a bundle goes and in which form, by the options and the name after -o.
 *
 * @param several one bundle for each of several tenants
 * @throws {AppError} exit 2 for options that do not fit, 6 for a key that cannot be used
 */
export async function bundleOutputOf(
  args: BundleOutputArguments,
  context: Context,
  several: boolean,
): Promise<BundleOutput> {
  const { layersOfName } = await import("../bundle/file-name.ts");
  const { config, output, interruption } = context;
  const destination = destinationOf(args.output, several, config.backup.directory);
  const { isS3Url, parseS3Url } = await import("../storage/s3-url.ts");
  const toS3 = destination.kind !== "stdout" && isS3Url(destination.path);
  // Before there is anything to write, or a typing error would cost the work.
  if (toS3) parseS3Url(destination.path);
  const toStdout = destination.kind === "stdout";
  if (toStdout) output.leaveStdoutToBundle();
  interruption.meaning = toStdout
    ? "what was written to the standard output is incomplete"
    : `the ${toS3 ? "unfinished upload" : "partial file"} was removed${
        several ? "; bundles that were complete are kept, and --resume goes on with them" : ""
      }`;
  const named =
    destination.kind === "file"
      ? layersOfName(destination.path)
      : {
          layout: undefined,
          compression: toStdout ? ("none" as const) : undefined,
          encryption: undefined,
        };
  const compression = args.compress ?? named.compression ?? "zstd";
  const layout = args.format ?? named.layout ?? "jsonl";
  // A name that promises encryption is as good as a flag.
  const asked = args.encrypt ?? (named.encryption === "age" ? true : undefined);
  const chosen = await encryptionOf({ ...args, encrypt: asked }, config, "bundle");
  const { encryption } = chosen;
  for (const warning of chosen.warnings) output.warn(warning);
  if (destination.kind === "file" && named.layout !== undefined) {
    if (
      layout !== named.layout ||
      compression !== named.compression ||
      encryption.method !== named.encryption
    ) {
      output.warn(
        `the name "${destination.path}" does not say what the file is: ${layout}, compressed with ${compression}${encryption.method === "none" ? "" : ", encrypted with age"}`,
      );
    }
  }
  return { destination, layout, compression, encryption };
}

function destinationOf(
  path: string | undefined,
  several: boolean,
  backupFolder: string,
): Destination {
  if (path === undefined) {
    return { kind: "folder", path: `${backupFolder.replace(/\/+$/, "")}/tenants`, perTenant: true };
  }
  if (path === "")
    throw usage("-o names nothing", "Give a file, a folder, or - for the standard output.");
  if (path === "-") return { kind: "stdout" };
  return several ? { kind: "folder", path, perTenant: false } : { kind: "file", path };
}
