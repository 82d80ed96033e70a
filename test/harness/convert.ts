import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { noProgress } from "../../src/progress.ts";
import {
  type ConvertOptions,
  type ConvertResult,
  convertDocument,
} from "../../src/tenant/convert.ts";
import { inChunks } from "./tenant-bundle.ts";

export type ConvertChoice = Partial<
  Pick<ConvertOptions, "root" | "dropReferences" | "maxRowBytes" | "compression" | "layout">
> & { readonly chunk?: number };

/** Converts a state document, which comes in chunks of this size, into an uncompressed bundle. */
export async function convertBytes(
  document: Uint8Array | string,
  choice: ConvertChoice = {},
): Promise<{ readonly bytes: Buffer; readonly result: ConvertResult }> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  const path = join(folder, "bundle");
  const { chunk, ...options } = choice;
  try {
    const result = await convertDocument(inChunks(Buffer.from(document), chunk), {
      name: '"state.json"',
      destination: { kind: "file", path },
      layout: "jsonl",
      compression: "none",
      encryption: { method: "none" },
      overwrite: false,
      dropReferences: false,
      maxRowBytes: defaultMaxRowBytes,
      tempFolder: join(folder, "temp"),
      searchPath: process.env.PATH,
      progress: noProgress,
      signal: new AbortController().signal,
      ...options,
    });
    return { bytes: await readFile(path), result };
  } finally {
    assert.deepEqual(await readdir(join(folder, "temp")), [], "temporary files are gone");
    await rm(folder, { recursive: true });
  }
}
