import zlib from "node:zlib";
import { gzipMembers } from "./gzip-members.ts";
import type { Compression } from "./layers.ts";
import { blocksThroughStage } from "./through-stage.ts";

const outputChunk = 256 * 1024;
const inputPiece = 512 * 1024;

export function compressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "zstd":
      return blocksThroughStage(
        source,
        // Each write wakes another thread, which small chunks are not worth.
        inputPiece,
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
