import zlib from "node:zlib";
import { inBlocks } from "./blocks.ts";
import { gzipMembers } from "./gzip-members.ts";
import type { Compression } from "./layers.ts";
import { throughStage } from "./through-stage.ts";

const outputChunk = 256 * 1024;
const inputPiece = 512 * 1024;

export function compressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "zstd":
      return throughStage(
        inPieces(source),
        // The checksum makes `zstd -t` worth something. More workers must not be asked for:
        // Node's streams then end early in silence.
        zlib.createZstdCompress({
          chunkSize: outputChunk,
          params: {
            [zlib.constants.ZSTD_c_compressionLevel]: 1,
            [zlib.constants.ZSTD_c_checksumFlag]: 1,
          },
        }),
      );
    case "gzip":
      return gzipMembers(source);
    case "none":
      return source;
  }
}

/** Each write wakes another thread, which small chunks are not worth. */
async function* inPieces(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const { bytes } of inBlocks(source, inputPiece)) yield bytes;
}
