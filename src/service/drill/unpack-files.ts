import { join } from "node:path";
import type { OpenBackup } from "../../backup/open-backup.ts";
import { checkFiles, restoreFiles } from "../../backup/restore-files.ts";
import type { UnpackedFiles } from "../../backup/unpack-files.ts";
import type { DecryptionKeys } from "../../bundle/encryption.ts";
import { openTempFolder } from "../../postgres/temp-folder.ts";

/** Restores the files of a backup into a temporary folder, which goes whatever happens. */
export async function unpackAndRemove(
  backup: OpenBackup,
  options: {
    readonly keys: DecryptionKeys;
    readonly signal: AbortSignal;
    readonly tempFolder: string | undefined;
    readonly searchPath: string | undefined;
  },
): Promise<UnpackedFiles> {
  const { keys, signal, tempFolder, searchPath } = options;
  const temp = await openTempFolder(tempFolder, searchPath);
  try {
    const into = { keys, folder: join(temp.path, "files"), signal };
    await checkFiles(backup, into);
    return await restoreFiles(backup, into);
  } finally {
    await temp.remove();
  }
}
