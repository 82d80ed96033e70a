import { access, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Encryption, encryptionSuffix, type Opener } from "../bundle/encryption.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { sqlStateOf } from "../postgres/sqlstates.ts";
import type { ProgressListener } from "../progress.ts";
import { refuseExisting, type StorageAdvice, writeWholeFile } from "../storage/local-file.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowsToWrite, type WorkingPlan } from "./plan.ts";
import { type ReceiptSubject, receiptBytes } from "./receipt.ts";

/** Where receipts go. */
export interface ReceiptOptions {
  /** This file; by default one with a dated name in the folder. */
  readonly file?: string | undefined;
  readonly folder: string;
  /** How a receipt is encrypted when what it is for was not. */
  readonly encryption: () => Promise<Encryption>;
  readonly signal: AbortSignal;
}

/**
 * The receipt of one import or undo: its file is complete and on disk before the transaction is
 * committed, and goes when it is not.
 */
export class ReceiptFile {
  readonly #options: ReceiptOptions | undefined;
  readonly #encryption: Encryption;
  readonly #subject: ReceiptSubject;
  #path: string | undefined;
  #committing = false;

  private constructor(
    options: ReceiptOptions | undefined,
    encryption: Encryption,
    subject: ReceiptSubject,
  ) {
    this.#options = options;
    this.#encryption = encryption;
    this.#subject = subject;
  }

  /**
   * Prepares what can fail before there is anything to do. Without options no receipt is written.
   *
   * @param opener what has opened the bundle: who could read that can read the receipt
   * @throws {AppError} exit 2 when the file exists; 6 when there is to be encryption and no key
   */
  static async prepare(
    options: ReceiptOptions | undefined,
    opener: Opener,
    subject: ReceiptSubject,
  ): Promise<ReceiptFile> {
    if (options?.file !== undefined) await refuseExisting(options.file, advice);
    const encryption: Encryption =
      options === undefined ? { method: "none" } : await encryptionFor(opener, options);
    return new ReceiptFile(options, encryption, subject);
  }

  /** The path of the file that was written, if one was. */
  get path(): string | null {
    return this.#path ?? null;
  }

  /**
   * Writes the receipt of a plan that is confirmed, before its first row is written.
   *
   * @throws {AppError} exit 8 when it cannot be written
   */
  async write(
    session: Session,
    schema: OpenSchema,
    working: WorkingPlan,
    progress: ProgressListener,
  ): Promise<void> {
    if (this.#options === undefined || rowsToWrite(working.plan) === 0) return;
    const { signal } = this.#options;
    const bytes = await receiptBytes(
      session,
      schema,
      working,
      this.#subject,
      this.#encryption,
      () => progress.advance("writing the receipt", 0),
    );
    const path = this.#options.file ?? (await this.#freeName(this.#options, working));
    try {
      await writeWholeFile(path, bytes, { stages: [], overwrite: false, signal, advice });
    } catch (error) {
      throw unwritable(error, this.#subject);
    }
    this.#path = path;
  }

  /** From now on only the server knows whether the transaction is committed. */
  committing(): void {
    this.#committing = true;
  }

  /** Removes the file after the transaction has failed; not if it may have been committed. */
  async discardAfter(error: unknown): Promise<void> {
    if (this.#path === undefined) return;
    const surelyRolledBack = !this.#committing || /^(23|40)/.test(sqlStateOf(error) ?? "");
    if (surelyRolledBack) await rm(this.#path, { force: true }).catch(() => undefined);
  }

  async #freeName({ folder }: ReceiptOptions, { plan }: WorkingPlan): Promise<string> {
    const { tenant } = plan;
    const slug = (tenant.slug ?? tenant.id).replace(/[^A-Za-z0-9._-]/g, "_").replace(/^\.+/, "_");
    const time = new Date().toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
    for (let number = 1; ; number += 1) {
      const path = join(
        folder,
        `receipt_${slug}_${time}${number === 1 ? "" : `_${number}`}.jsonl.zst${encryptionSuffix[this.#encryption.method]}`,
      );
      const free = await access(path).then(
        () => false,
        () => true,
      );
      if (free) return path;
    }
  }
}

async function encryptionFor(opener: Opener, options: ReceiptOptions): Promise<Encryption> {
  switch (opener.method) {
    case "none":
      return await options.encryption();
    case "passphrase":
      return { method: "age", passphrase: opener.passphrase };
    case "identity": {
      const { recipientOf } = await import("../bundle/keys.ts");
      return { method: "age", recipients: [await recipientOf(opener.identity)] };
    }
  }
}

const advice: StorageAdvice = {
  taken: (path) =>
    new AppError("output-exists", ExitCode.usage, `the file "${path}" exists already`, {
      hint: "Choose another name with --receipt; a receipt is never overwritten.",
    }),
  elsewhere: "the receipt to another place with --receipt FILE",
  choose: "another place with --receipt FILE or BACKUP_DIR",
};

function unwritable(error: unknown, { of }: ReceiptSubject): unknown {
  if (!(error instanceof AppError) || error.exitCode !== ExitCode.storage) return error;
  return new AppError(
    "receipt-not-written",
    ExitCode.storage,
    `the receipt could not be written, so nothing was ${of === "import" ? "imported" : "undone"}: ${error.message}`,
    {
      cause: error,
      hint: "Without a receipt it could not be taken back. Name another place: --receipt FILE, or BACKUP_DIR.",
    },
  );
}
