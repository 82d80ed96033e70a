import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { AppError, ExitCode } from "../errors.ts";

/**
 * Opens a regular file for reading: no link in its last place, and no waiting for a pipe.
 *
 * @throws {AppError} exit 8 when it cannot be read, or is no regular file any more
 */
export async function readableFile(path: string): Promise<FileHandle> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let file: FileHandle;
  try {
    file = await open(path, O_RDONLY | (O_NOFOLLOW ?? 0) | (O_NONBLOCK ?? 0));
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
    if (code === "ENOENT" || code === "ELOOP" || code === "ENXIO") throw changedFile(path, cause);
    throw new AppError(
      "unreadable-file",
      ExitCode.storage,
      `the file "${path}" cannot be read (${code}), and without it the backup would not be whole`,
      {
        hint: "Check its owner and mode, or leave it out of --include.",
        cause,
        data: { path },
      },
    );
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw changedFile(path);
}

/** A file that is no longer what it was when the backup began. */
export function changedFile(path: string, cause?: unknown): AppError {
  return new AppError(
    "changed-file",
    ExitCode.storage,
    `the file "${path}" was changed while it was being read`,
    {
      hint: "Run the backup again; leave files that are written all the time out of --include.",
      cause,
      data: { path },
    },
  );
}
