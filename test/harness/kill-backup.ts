import assert from "node:assert/strict";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { DumpFormat } from "../../src/backup/backup-name.ts";
import { listBackups } from "../../src/backup/list-backups.ts";
import { runBackup } from "../../src/backup/run-backup.ts";
import type { Encryption } from "../../src/bundle/encryption.ts";
import type { KeyPair } from "../../src/bundle/keys.ts";
import type { Compression } from "../../src/bundle/layers.ts";
import { openJournal, readJournal } from "../../src/journal/journal.ts";
import type { JournalRecord } from "../../src/journal/journal-record.ts";
import { verifyJournal } from "../../src/journal/verify-journal.ts";
import { noProgress } from "../../src/progress.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import type { Store } from "../../src/storage/store.ts";
import { pgtenant } from "./command.ts";
import type { TestDatabase } from "./database.ts";
import { killRun } from "./kill-run.ts";
import type { TestBucket } from "./s3-store.ts";
import { openMade, ourPrograms, verifyMade } from "./whole-database.ts";

export interface BackupForm {
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly encryption: Encryption["method"];
  /** In S3 as well as in the folder. */
  readonly s3: boolean;
}

const form = (
  format: DumpFormat,
  compression: Compression,
  encryption: Encryption["method"],
  s3 = false,
): BackupForm => ({ format, compression, encryption, s3 });

/** Every format, compression and encryption, and two of them in S3 as well. */
export const backupForms: readonly BackupForm[] = [
  form("plain", "gzip", "none"),
  form("custom", "zstd", "age"),
  form("directory", "zstd", "openssl"),
  form("plain", "none", "openssl", true),
  form("directory", "gzip", "age", true),
];

/** How many kills found the backup in which phase. */
export interface BackupKills {
  /** Nothing of it had been written. */
  begun: number;
  writing: number;
  /** Its manifest was there already. */
  complete: number;
  ended: number;
}

export interface BackupScene {
  readonly database: TestDatabase;
  /** A folder of the scene's own: backups, temporary files. */
  readonly folder: string;
  readonly keys: KeyPair;
  readonly bucket: TestBucket | undefined;
}

const passphrase = "a passphrase of the tests";
const manyObjects = 40;

/** Backups of one database that are killed, one after the other, in the same places. */
export class KilledBackups {
  readonly #scene: BackupScene;
  readonly #backups: string;
  readonly #tempFolders: readonly string[];
  /** Those that are known to be good: every byte of them was verified. */
  readonly #verified = new Set<string>();
  #s3: Store | undefined;
  readonly counts: BackupKills = { begun: 0, writing: 0, complete: 0, ended: 0 };

  constructor(scene: BackupScene) {
    this.#scene = scene;
    this.#backups = join(scene.folder, "backups");
    this.#tempFolders = ["system-temp", "temp"].map((name) => join(scene.folder, name));
  }

  /** The milliseconds that an undisturbed backup takes, from the start of the command to its end. */
  async measure(form: BackupForm): Promise<number> {
    for (const folder of this.#tempFolders) await mkdir(folder, { recursive: true });
    const begun = performance.now();
    await this.#succeed(this.#backupArgs(form), form);
    return performance.now() - begun;
  }

  /**
   * Kills a backup after a while, or so long after it has begun to write. Nothing of it may outlive it or be listed as good before it is
   * whole, and the next backup succeeds at once, clears up, and marks it in the journal.
   */
  async kill(
    form: BackupForm,
    afterMs: number,
    from: "start" | "writing" = "start",
  ): Promise<void> {
    if ((await this.#objects()).length > manyObjects) await this.#clear();
    const before = await this.#interruptedRuns();
    const objects = await this.#objects();
    const moment = async () => {
      if ((await this.#objects()).length === objects.length) return false;
      await sleep(afterMs);
      return true;
    };
    const run = await killRun(
      this.#backupArgs(form),
      { ...this.#options(form), tempFolders: this.#tempFolders },
      from === "start" ? afterMs : moment,
    );
    if (!run.killed) assert.equal(run.code, 0, run.stderr);
    const left = (await this.#objects()).filter((name) => !objects.includes(name));
    const open = await this.#openRuns();
    this.#count(run.killed, left);

    await this.#verifyListed(form);
    await this.#backUp(form);
    assert.deepEqual(await this.#partials(), [], "temporary files are left");
    if (form.s3) assert.deepEqual(await this.#scene.bucket?.pendingUploads(), []);
    const marked = (await this.#interruptedRuns()).filter((id) => !before.includes(id));
    assert.deepEqual(marked, open, "the killed run is marked as interrupted");
    assert.deepEqual(await this.#openRuns(), []);
    const journal = await verifyJournal(this.#backups);
    assert.deepEqual(journal.findings, []);
  }

  /** What is listed as good in the end still is, and the journal holds, as the commands say. */
  async conclude(form: BackupForm): Promise<void> {
    this.#verified.clear();
    await this.#verifyListed(form);
    const { backups, others, unreachable } = await this.#succeed(["list"], form);
    const list = await this.#list(form);
    const ids = (listed: readonly { readonly id: string }[]) => listed.map(({ id }) => id);
    assert.deepEqual([ids(backups), ids(others)], [ids(list.backups), ids(list.others)]);
    assert.deepEqual(unreachable, []);
    const journal = await this.#succeed(["history", "--verify"], form);
    assert.equal(journal.problems + journal.warnings, 0);
    const { records } = await this.#succeed(["history"], form);
    assert.deepEqual(records, await this.#records());
  }

  /** Every run reads what all earlier ones have left. */
  async #clear(): Promise<void> {
    for (const store of await this.#stores({ s3: true })) {
      for await (const { key } of store.list("backup_")) await store.remove(key);
    }
  }

  #count(killed: boolean, left: readonly string[]): void {
    if (!killed) this.counts.ended += 1;
    else if (left.some((name) => name.endsWith(".manifest.json"))) this.counts.complete += 1;
    else if (left.length > 0) this.counts.writing += 1;
    else this.counts.begun += 1;
  }

  /** Each copy of a backup that `list` shows as good is verified; what is half is not shown so. */
  async #verifyListed(form: BackupForm): Promise<void> {
    const { backups, others, unreachable } = await this.#list(form);
    assert.deepEqual(unreachable, []);
    for (const { id, state } of others) assert.equal(state, "pending", id);
    for (const { id, copies } of backups) {
      for (const { place } of copies) {
        const copy = `${place} ${id}`;
        if (this.#verified.has(copy)) continue;
        const store = (await this.#stores(form)).find((one) => one.place === place);
        assert.ok(store !== undefined, place);
        const { identity } = this.#scene.keys;
        const keys = { passphrases: [passphrase], identities: [identity] };
        await verifyMade(await openMade(id, [store]), keys);
        this.#verified.add(copy);
      }
    }
  }

  async #list(form: BackupForm) {
    const { name: database } = this.#scene.database;
    return await listBackups(await this.#stores(form), { database, now: new Date() });
  }

  /** The places of a form's backups. */
  async #stores({ s3 }: Pick<BackupForm, "s3">): Promise<readonly Store[]> {
    const local = openLocalStore(this.#backups);
    if (!s3 || this.#scene.bucket === undefined) return [local];
    this.#s3 ??= await this.#scene.bucket.open();
    return [local, this.#s3];
  }

  /** Everything under a final name in the folder; the other place gets the same objects. */
  async #objects(): Promise<readonly string[]> {
    const names = await readdir(this.#backups).catch(() => []);
    return names.filter((name) => name.startsWith("backup_")).sort();
  }

  async #partials(): Promise<readonly string[]> {
    return (await readdir(this.#backups)).filter((name) => name.endsWith(".partial"));
  }

  #records(): Promise<readonly JournalRecord[]> {
    return Array.fromAsync(readJournal(this.#backups));
  }

  async #interruptedRuns(): Promise<readonly string[]> {
    const records = await this.#records();
    return records.filter(({ event }) => event === "interrupted").map(({ run }) => run);
  }

  /** The runs that were written down as started and have no end. */
  async #openRuns(): Promise<readonly string[]> {
    const records = await this.#records();
    const ended = new Set(records.filter(({ event }) => event !== "started").map(({ run }) => run));
    return records
      .filter(({ event, run }) => event === "started" && !ended.has(run))
      .map(({ run }) => run);
  }

  /** The next run, in this process for its time: the locks, the journal and all of the backup. */
  async #backUp(form: BackupForm): Promise<void> {
    const { format, compression } = form;
    const warn = () => undefined;
    const { result } = await runBackup(
      {
        connection: { databaseUrl: this.#scene.database.url, applicationName: "pgtenant backup" },
        stores: await this.#stores(form),
        programs: ourPrograms,
        format,
        compression,
        encryption: this.#encryption(form),
        jobs: undefined,
        tempFolder: this.#tempFolders[0],
        included: undefined,
        rolePasswords: false,
        timeoutMinutes: 5,
        signal: new AbortController().signal,
        progress: noProgress,
        folder: this.#backups,
        journal: openJournal(this.#backups, { secrets: [], warn }),
        warn,
      },
      async () => undefined,
    );
    assert.deepEqual(result.failed, []);
  }

  #encryption({ encryption }: BackupForm): Encryption {
    switch (encryption) {
      case "age":
        return { method: "age", recipients: [this.#scene.keys.recipient] };
      case "openssl":
        return { method: "openssl", passphrase };
      case "none":
        return { method: "none" };
    }
  }

  #backupArgs({ format, compression, encryption }: BackupForm): readonly string[] {
    const args = ["backup", "--no-prune", "--format", format, "--compress", compression];
    if (encryption === "age") args.push("--recipient", this.#scene.keys.recipient);
    if (encryption === "openssl") args.push("--encrypt", "--encryption", "openssl");
    return args;
  }

  #options(form: BackupForm) {
    const { database, bucket } = this.#scene;
    const [systemTemp = "", temp = ""] = this.#tempFolders;
    return {
      url: database.url,
      env: {
        BACKUP_DIR: this.#backups,
        BACKUP_TEMP_DIR: temp,
        TMPDIR: systemTemp,
        BACKUP_ENCRYPTION_KEY: passphrase,
        ...(form.s3 && bucket !== undefined
          ? {
              AWS_ACCESS_KEY_ID: bucket.access.accessKeyId,
              AWS_SECRET_ACCESS_KEY: bucket.access.secretAccessKey,
              BACKUP_S3_BUCKET: bucket.name,
              BACKUP_S3_ENDPOINT: bucket.access.endpoint,
            }
          : {}),
      },
    };
  }

  async #succeed(args: readonly string[], form: BackupForm) {
    const result = await pgtenant([...args, "--json"], this.#options(form));
    assert.equal(result.code, 0, `pgtenant ${args.join(" ")}\n${result.stderr}`);
    return JSON.parse(result.stdout.toString());
  }
}
