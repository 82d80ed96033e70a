import type { Transform } from "node:stream";
import zlib from "node:zlib";
import { AppError, ExitCode } from "../errors.ts";
import { ByteSource } from "./byte-source.ts";
import { type DecryptionKeys, noKeys } from "./encryption.ts";
import { longestMagic, magic, startsWith } from "./known-content.ts";
import { openLayers } from "./open-layers.ts";

export type Compression = "zstd" | "gzip" | "none";

export const compressionSuffix: Readonly<Record<Compression, string>> = {
  zstd: ".zst",
  gzip: ".gz",
  none: "",
};

const outputChunk = 256 * 1024;

/** The stage that compresses, or undefined for none. */
export function compressor(compression: Compression): Transform | undefined {
  switch (compression) {
    case "zstd":
      // The checksum makes `zstd -t` worth something. More workers must not be asked for:
      // Node's streams then end early in silence.
      return zlib.createZstdCompress({
        chunkSize: outputChunk,
        params: {
          [zlib.constants.ZSTD_c_compressionLevel]: 1,
          [zlib.constants.ZSTD_c_checksumFlag]: 1,
        },
      });
    case "gzip":
      return zlib.createGzip({ level: 4, chunkSize: outputChunk });
    case "none":
      return undefined;
  }
}

/**
 * Takes off a bundle's layers, whatever the file is called.
 *
 * @param name how messages call the input
 * @throws {AppError} exit 3 for what is no bundle or is damaged, 6 when it is encrypted and no key
 *   that was given fits
 */
export async function* withoutLayers(
  source: AsyncIterable<Uint8Array>,
  name: string,
  keys: DecryptionKeys = noKeys,
): AsyncGenerator<Uint8Array> {
  const { bytes } = await openLayers(source, {
    name,
    keys,
    hint: "Take another copy of the bundle; pgtenant verify tells whether a copy is whole.",
  });
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
