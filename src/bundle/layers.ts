import { AppError, ExitCode } from "../errors.ts";
import { ByteSource } from "./byte-source.ts";
import { type DecryptionKeys, noKeys, type Opener } from "./encryption.ts";
import { longestMagic, magic, startsWith } from "./known-content.ts";
import { openLayers } from "./open-layers.ts";

export type Compression = "zstd" | "gzip" | "none";

export const compressionSuffix: Readonly<Record<Compression, string>> = {
  zstd: ".zst",
  gzip: ".gz",
  none: "",
};

/**
 * Takes off a bundle's layers, whatever the file is called.
 *
 * @param name how messages call the input
 * @param onOpened hears what has opened it
 * @throws {AppError} exit 3 for what is no bundle or is damaged, 6 when it is encrypted and no key
 *   that was given fits
 */
export async function* withoutLayers(
  source: AsyncIterable<Uint8Array>,
  name: string,
  keys: DecryptionKeys = noKeys,
  onOpened?: (opener: Opener) => void,
): AsyncGenerator<Uint8Array> {
  const { bytes, opener } = await openLayers(source, {
    name,
    keys,
    hint: "Take another copy of the bundle; pgtenant verify tells whether a copy is whole.",
  });
  onOpened?.(opener);
  const content = new ByteSource(bytes);
  try {
    const head = await content.peek(longestMagic);
    if (startsWith(head, magic.customDump) || startsWith(head, magic.plainDump)) {
      throw new AppError(
        "not-a-bundle",
        ExitCode.invalidInput,
        `${name} is a pg_dump file, not a tenant bundle`,
        {
          hint: "Restore it with pg_restore or psql; bundles are made by pgtenant export.",
        },
      );
    }
    yield* content.rest();
  } finally {
    await content.close();
  }
}
