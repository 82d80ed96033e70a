import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BackupId, type DumpFormat, sidecarName } from "../../src/backup/backup-name.ts";
import { parseManifest } from "../../src/backup/manifest.ts";
import type { OpenBackup } from "../../src/backup/open-backup.ts";
import { readPart } from "../../src/backup/read-part.ts";
import { checkFiles } from "../../src/backup/restore-files.ts";
import { scanIncluded } from "../../src/backup/scan-files.ts";
import { type DecryptionKeys, type Encryption, noKeys } from "../../src/bundle/encryption.ts";
import { generateKeyPair } from "../../src/bundle/keys.ts";
import type { Compression } from "../../src/bundle/layers.ts";
import { AppError } from "../../src/errors.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import { assertFailure } from "./assert-failure.ts";
import { pgtenant } from "./command.ts";
import { createDatabase, type TestDatabase } from "./database.ts";
import { databasesLike, dropDatabases } from "./server-databases.ts";
import { type Damage, damagesOfDump, damagesOfSet, type StoredSet } from "./tamper.ts";
import { makeBackup, openMade, restoreMade, verifyMade, withScripts } from "./whole-database.ts";
import { wholeDigest } from "./whole-digest.ts";

export interface TamperForm {
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly encryption: Encryption["method"];
}

const form = (
  format: DumpFormat,
  compression: Compression,
  encryption: Encryption["method"],
): TamperForm => ({ format, compression, encryption });

/** Each format with each encryption, each compression with both. */
export const tamperForms: readonly TamperForm[] = [
  form("plain", "gzip", "none"),
  form("custom", "none", "none"),
  form("directory", "zstd", "none"),
  form("plain", "zstd", "openssl"),
  form("custom", "gzip", "openssl"),
  form("directory", "none", "openssl"),
  form("plain", "none", "age"),
  form("custom", "zstd", "age"),
  form("directory", "gzip", "age"),
];

/** Without one of these a dump alone has nothing that a flipped bit would not fit. */
export function protectsItself({ compression, encryption }: TamperForm): boolean {
  return compression !== "none" || encryption === "age";
}

const passphrase = "a passphrase of the tests";
const never = new AbortController().signal;

/** Two backups of one form, of which the first is damaged in every way, and a database to lose. */
export class TamperedBackups {
  readonly #folder: string;
  readonly #source: TestDatabase;
  readonly #target: TestDatabase;
  readonly #keys: DecryptionKeys;
  readonly #recipient: string;
  readonly #untouched: string;
  #hasRestored = false;
  #id: BackupId = "";
  #dump = "";
  #set: StoredSet = new Map();
  #other: StoredSet = new Map();
  #raw: Buffer = Buffer.alloc(0);

  static async make(settings: Readonly<Record<string, string>>): Promise<TamperedBackups> {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const source = await createDatabase("tamper", "n-kudo", { settings });
    const target = await createDatabase("tamper target", "empty");
    await target.query("CREATE TABLE precious AS SELECT g AS id FROM generate_series(1, 9) AS g");
    const pair = await generateKeyPair();
    return new TamperedBackups(folder, source, target, pair, await wholeDigest(target.url));
  }

  private constructor(
    folder: string,
    source: TestDatabase,
    target: TestDatabase,
    pair: { readonly identity: string; readonly recipient: string },
    untouched: string,
  ) {
    this.#folder = folder;
    this.#source = source;
    this.#target = target;
    this.#keys = { passphrases: [passphrase], identities: [pair.identity] };
    this.#recipient = pair.recipient;
    this.#untouched = untouched;
  }

  get #store() {
    return openLocalStore(join(this.#folder, "backups"));
  }

  async dispose(): Promise<void> {
    await this.#target.drop();
    await dropDatabases(...(await databasesLike(`${this.#target.name}_`)));
    await this.#source.drop();
    await rm(this.#folder, { recursive: true });
  }

  /** Makes the two backups. */
  async begin({ format, compression, encryption }: TamperForm): Promise<void> {
    await rm(join(this.#folder, "backups"), { recursive: true, force: true });
    const extra = join(this.#folder, "pki");
    await mkdir(extra, { recursive: true });
    const make = async (content: string) => {
      await writeFile(join(extra, "ca.crt"), content.repeat(500));
      const { id } = await makeBackup(this.#source.url, [this.#store], {
        format,
        compression,
        encryption:
          encryption === "age"
            ? { method: "age", recipients: [this.#recipient] }
            : encryption === "openssl"
              ? { method: "openssl", passphrase }
              : { method: "none" },
        included: await scanIncluded([extra], never),
      });
      return id;
    };
    const otherId = await make("another certificate\n");
    this.#other = await this.#read(otherId);
    await this.#source.query("UPDATE tenants SET name = name || '.'");
    this.#id = await make("a certificate\n");
    this.#set = await this.#read(this.#id);
    const backup = await openMade(this.#id, [this.#store]);
    this.#dump = backup.part("database")?.key ?? "";
    this.#raw = await this.#decoded(backup);
    await verifyMade(backup, this.#keys);
    if (!this.#hasRestored) await this.#restored({ what: "none", key: this.#id, bytes: undefined });
    this.#hasRestored = true;
  }

  /** @returns which damages made no difference */
  async damageSet(times: number, random: () => number): Promise<readonly string[]> {
    const harmless: string[] = [];
    const damages = damagesOfSet(this.#id, this.#set, this.#other, random);
    for (const damage of damages.take(times)) {
      await this.#with(damage, async () => {
        const verified = await this.#refusal(damage, () => this.#verify(this.#id));
        if (verified === undefined) {
          await this.#assertSameManifest(damage);
          harmless.push(damage.what);
        } else await this.#assertNotRestored(damage, this.#id);
      });
    }
    await this.#assertUntouched();
    return harmless;
  }

  /** The same for the dump alone, in a folder without its manifest. */
  async damageDump(times: number, random: () => number): Promise<readonly string[]> {
    const harmless: string[] = [];
    await rm(join(this.#store.place, sidecarName(this.#id, "manifest")));
    const path = join(this.#store.place, this.#dump);
    for (const damage of damagesOfDump(this.#dump, this.#set, this.#other, random).take(times)) {
      await this.#with(damage, async () => {
        const verified = await this.#refusal(damage, () => this.#verify(path));
        if (verified === undefined) {
          const decoded = await this.#decoded(await openMade(path, []));
          assert.ok(decoded.equals(this.#raw), `${damage.what}: decodes to something else`);
          harmless.push(damage.what);
        } else await this.#assertNotRestored(damage, path);
      });
    }
    await this.#assertUntouched();
    return harmless;
  }

  /** The commands refuse such damages, too. */
  async damageForCommands(times: number, random: () => number): Promise<void> {
    const identityFile = join(this.#folder, "identity.txt");
    await writeFile(identityFile, `${this.#keys.identities[0]}\n`, { mode: 0o600 });
    const options = {
      url: this.#target.url,
      env: { BACKUP_DIR: this.#store.place, BACKUP_ENCRYPTION_KEY: passphrase },
    };
    let seen = 0;
    for (const damage of damagesOfSet(this.#id, this.#set, this.#other, random)) {
      if (seen === times) break;
      // That of files only matters to restore --files-to.
      if (damage.key.includes(".files.")) continue;
      await this.#with(damage, async () => {
        if ((await this.#refusal(damage, () => this.#verify(this.#id))) === undefined) return;
        for (const command of [["verify"], ["restore", "-f"]]) {
          const result = await pgtenant([...command, this.#id, "-i", identityFile], options);
          const code = result.code === 6 ? 6 : 3;
          const what = `${command[0]}, ${damage.what}\n${result.stderr}`;
          assertFailure(result, { code, message: new RegExp(this.#id), hint: /./ });
          assert.ok(result.stderr.includes(damage.key), what);
        }
        seen += 1;
      });
    }
    await this.#assertUntouched();
  }

  /** A pg_restore that reads nothing and ends well hides no damage, and restores nothing. */
  async endEarly(): Promise<void> {
    const programs = await withScripts(join(this.#folder, "programs"), { pg_restore: "exit 0" });
    const bytes = Buffer.from(this.#set.get(this.#dump) ?? "");
    const last = bytes.length - 1;
    bytes.writeUInt8(bytes.readUInt8(last) ^ 1, last);
    const damage = { what: "the last bit flipped", key: this.#dump, bytes };
    const open = () => openMade(this.#id, [this.#store]);
    const into = `${this.#target.name}_into`;
    const restore = async () =>
      await restoreMade(this.#target.url, await open(), { into, jobs: 1, programs });
    await this.#with(damage, async () => {
      for (const work of [async () => await verifyMade(await open(), noKeys, programs), restore]) {
        const refused = await this.#refusal(damage, work);
        assert.match(String(refused?.message), /SHA-256/);
      }
    });
    await verifyMade(await open(), noKeys, programs);
    await assert.rejects(restore(), { exitCode: 3, code: "dump-not-taken" });
    await this.#assertUntouched();
  }

  async #read(id: BackupId): Promise<StoredSet> {
    const names = (await readdir(this.#store.place)).filter((name) => name.startsWith(id));
    const entries = names.map(
      async (name) => [name, await readFile(join(this.#store.place, name))] as const,
    );
    return new Map(await Promise.all(entries));
  }

  /** Does something while the damage is there, and mends it. */
  async #with(damage: Damage, work: () => Promise<void>): Promise<void> {
    const path = join(this.#store.place, damage.key);
    if (damage.bytes === undefined) await rm(path);
    else await writeFile(path, damage.bytes);
    try {
      await work();
    } finally {
      await writeFile(path, this.#set.get(damage.key) ?? "");
      // What was found of the damage would be known of the mended one.
      await rm(join(this.#store.place, sidecarName(this.#id, "verified")), { force: true });
    }
  }

  async #verify(wanted: string): Promise<void> {
    await verifyMade(await openMade(wanted, [this.#store]), this.#keys);
  }

  /** Undefined when it was done; an error has exit code 3 or 6 and names the damaged file. */
  async #refusal(damage: Damage, work: () => Promise<unknown>): Promise<AppError | undefined> {
    try {
      await work();
      return undefined;
    } catch (error) {
      const shown = error instanceof Error ? error.stack : String(error);
      assert.ok(error instanceof AppError, `${damage.what}: ${shown}`);
      assert.ok(
        [3, 6].includes(error.exitCode),
        `${damage.what}: exit ${error.exitCode}, ${shown}`,
      );
      assert.ok(error.message.includes(damage.key), `${damage.what}: ${error.message}`);
      assert.ok(error.hint, damage.what);
      return error;
    }
  }

  async #assertNotRestored(damage: Damage, wanted: string): Promise<void> {
    const refused = await this.#refusal(damage, async () => {
      const backup = await openMade(wanted, [this.#store]);
      // The files of a set are checked where they are wanted, before the database is touched.
      if (damage.key.includes(".files.")) {
        const folder = join(this.#folder, "restored files");
        await checkFiles(backup, { keys: this.#keys, folder, signal: never });
      }
      await restoreMade(this.#target.url, backup, {
        keys: this.#keys,
        onPlan: () => Promise.reject(new Error("it was not found before the plan")),
      });
    });
    assert.ok(refused !== undefined, `${damage.what}: was restored`);
    assert.deepEqual(await databasesLike(this.#target.name), [this.#target.name], damage.what);
  }

  /** That restoring can do something at all, without damage. */
  async #restored(nothing: Damage): Promise<void> {
    const into = `${this.#target.name}_into`;
    const refused = await this.#refusal(nothing, async () => {
      const backup = await openMade(this.#id, [this.#store]);
      await restoreMade(this.#target.url, backup, { keys: this.#keys, into });
    });
    assert.equal(refused, undefined);
    await dropDatabases(into);
  }

  async #assertSameManifest({ what, key, bytes }: Damage): Promise<void> {
    assert.equal(key, sidecarName(this.#id, "manifest"), `${what}: was taken for whole`);
    const was = this.#set.get(key)?.toString("utf8") ?? "";
    const is = bytes?.toString("utf8") ?? "";
    assert.deepEqual(parseManifest(is, "is"), parseManifest(was, "was"), what);
  }

  async #decoded(backup: OpenBackup): Promise<Buffer> {
    const part = backup.part("database");
    assert.ok(part !== undefined);
    return Buffer.concat(await Array.fromAsync(readPart(part, this.#keys, never)));
  }

  async #assertUntouched(): Promise<void> {
    assert.equal(await wholeDigest(this.#target.url), this.#untouched);
  }
}
