import { ByteSource } from "../bundle/byte-source.ts";
import type { DumpFormat } from "./backup-name.ts";
import { type DumpVersions, dumpVersions } from "./dump-marker.ts";

export interface SniffedDump {
  /** Undefined for what is no dump of PostgreSQL's. */
  readonly format: DumpFormat | undefined;
  /** As far as a plain dump tells in its first lines. */
  readonly versions: DumpVersions;
  /** All of the bytes, the ones that were looked at included. */
  readonly bytes: AsyncGenerator<Uint8Array>;
}

const lookedAt = 4096;
const tarMagicAt = 257;

/** Tells the format of a dump by its first bytes, whatever its file is called. */
export async function sniffDump(source: AsyncIterable<Uint8Array>): Promise<SniffedDump> {
  const input = new ByteSource(source);
  const head = (await input.peek(lookedAt)).subarray(0, lookedAt);
  return {
    format: formatOf(head),
    versions: dumpVersions(head.toString("latin1")),
    bytes: input.rest(),
  };
}

function formatOf(head: Buffer): DumpFormat | undefined {
  if (head.subarray(0, 5).toString("latin1") === "PGDMP") return "custom";
  if (head.subarray(tarMagicAt, tarMagicAt + 5).toString("latin1") === "ustar") return "directory";
  return /^--\r?\n-- PostgreSQL database/.test(head.toString("latin1")) ? "plain" : undefined;
}
