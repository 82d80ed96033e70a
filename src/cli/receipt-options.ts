import type { ReceiptOptions } from "../tenant/receipt-file.ts";
import type { Context } from "./command.ts";
import { encryptionOf } from "./key-options.ts";
import { usage } from "./options.ts";

export const receiptOption = {
  type: "string",
  requiresArg: true,
  describe: "the file of the receipt, which takes this back",
  defaultDescription: "a dated file in BACKUP_DIR/receipts",
} as const;

/** @throws {AppError} exit 2 when the receipt is to be no file of this machine */
export function receiptOptionsOf(
  { receipt: file }: { readonly receipt?: string | undefined },
  { config, signal }: Context,
): ReceiptOptions {
  if (file === "" || file === "-" || /^s3:/i.test(file ?? "")) {
    throw usage(
      `--receipt "${file}" is no file`,
      "A receipt must be on this machine's disk before the import is committed; give the path of a file.",
    );
  }
  return {
    file,
    folder: `${config.backup.directory.replace(/\/+$/, "")}/receipts`,
    encryption: async () => (await encryptionOf({}, config, "bundle")).encryption,
    signal,
  };
}
