import { AppError, ExitCode } from "../errors.ts";
import { type WrittenFile, writeToStdout, writeWholeFile } from "./local-file.ts";
import { isS3Url, openS3Url, parseS3Url, type S3Server } from "./s3-url.ts";
import type { Store } from "./store.ts";

export interface OutputOptions {
  readonly overwrite: boolean;
  readonly signal: AbortSignal;
  /** Where S3 is; by default Amazon's. */
  readonly server?: S3Server | undefined;
  /** The bucket of the URL, where it is open already; it stays open. */
  readonly bucket?: Store | undefined;
}

/**
 * Writes to a file, to an object in S3 for `s3://bucket/key`, or to the standard output for `-`.
 * A file and an object have their name only when they are complete.
 *
 * @throws {AppError} exit 2 when it exists and may not be overwritten, 8 when the storage fails
 */
export async function writeOutput(
  path: string,
  source: AsyncIterable<Uint8Array>,
  options: OutputOptions,
): Promise<WrittenFile> {
  const { overwrite, signal } = options;
  if (path === "-") return await writeToStdout(source, { stages: [], signal });
  if (!isS3Url(path)) {
    return await writeWholeFile(path, source, { stages: [], signal, overwrite });
  }
  const { store, key } =
    options.bucket === undefined
      ? await openS3Url(path, options.server ?? {})
      : { store: options.bucket, key: parseS3Url(path).key };
  try {
    const { bytes } = await store.write(key, source, { signal, overwrite });
    return { path, bytes };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "object-exists") throw error;
    throw new AppError("output-exists", ExitCode.usage, `the object "${path}" exists already`, {
      hint: "Choose another name with -o, or add --overwrite.",
      cause: error,
    });
  } finally {
    if (store !== options.bucket) await store.close();
  }
}
