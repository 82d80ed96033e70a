import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { QueryResultRow } from "pg";
import { runRestore } from "../../src/backup/run-restore.ts";
import { parseIdentities } from "../../src/bundle/keys.ts";
import { openJournal } from "../../src/journal/journal.ts";
import { verifyJournal } from "../../src/journal/verify-journal.ts";
import { openTempFolder } from "../../src/postgres/temp-folder.ts";
import { noProgress } from "../../src/progress.ts";
import { openLocalStore } from "../../src/storage/local-store.ts";
import { pgtenant } from "./command.ts";
import { serverUrl, type TestDatabase } from "./database.ts";
import { killRun } from "./kill-run.ts";
import { openMade, ourPrograms } from "./whole-database.ts";
import { wholeDigest, withClient } from "./whole-digest.ts";

export interface RestoreForm {
  readonly name: string;
  readonly backup: readonly string[];
  readonly restore: readonly string[];
}

/** Mostly beside the target, from each format; then in its place. */
export function restoreForms(recipient: string): readonly RestoreForm[] {
  const openssl = ["--encrypt", "--encryption", "openssl"];
  const age = ["--recipient", recipient];
  const form = (
    name: string,
    backup: readonly string[],
    ...restore: readonly string[]
  ): RestoreForm => ({ name, backup, restore });
  const custom = form("custom", ["--format", "custom", "--compress", "zstd", ...age]);
  return [
    form("plain", ["--format", "plain", "--compress", "gzip", ...openssl]),
    custom,
    form("directory", ["--format", "directory", "--compress", "zstd", ...openssl]),
    { ...form("plain in place", ["--format", "plain"]), restore: ["--in-place"] },
    form("directory with age", ["--format", "directory", ...age]),
    { ...custom, name: "custom in place", restore: ["--in-place"] },
    { ...custom, name: "custom streamed", restore: ["--jobs", "1"] },
    form("directory in place", ["--format", "directory", "--compress", "none"], "--in-place"),
  ];
}

const passphrase = "a passphrase of the tests";

export interface RestoreKills {
  /** The database was what it had been. */
  before: number;
  /** It was the restored one. */
  after: number;
  ended: number;
  /** A scratch database was left. */
  scratches: number;
}

export interface RestoreScene {
  /** What the backups are made of. */
  readonly source: TestDatabase;
  /** A database whose copies are restored over: it differs from the source. */
  readonly live: string;
  readonly folder: string;
  readonly identityFile: string;
}

/** Restores of one database that are killed, one after the other. */
export class KilledRestores {
  readonly #scene: RestoreScene;
  readonly #target: string;
  readonly #temp: string;
  readonly #systemTemp: string;
  /** Named nearly like what a killed restore leaves; nobody may touch them. */
  readonly #bystanders: readonly string[];
  readonly #backups = new Map<string, string>();
  #states: { readonly old: string; readonly restored: string } | undefined;
  readonly counts: RestoreKills = { before: 0, after: 0, ended: 0, scratches: 0 };

  constructor(scene: RestoreScene) {
    this.#scene = scene;
    this.#target = `${scene.source.name}_t`;
    this.#temp = join(scene.folder, "temp");
    this.#systemTemp = join(scene.folder, "system-temp");
    this.#bystanders = [
      `${this.#target}_restoring_20260101`,
      `${this.#target}_restoring_20260101_000000_`,
      `${this.#target}2_restoring_20260101_000000`,
    ];
  }

  async prepare(): Promise<void> {
    for (const folder of [this.#temp, this.#systemTemp]) await mkdir(folder, { recursive: true });
    for (const name of this.#bystanders) await this.#admin(`CREATE DATABASE ${name}`);
    await this.#renew();
    this.#states = {
      old: await this.#state(),
      restored: await wholeDigest(this.#scene.source.url),
    };
    assert.notEqual(this.#states.old, this.#states.restored);
  }

  /** Makes the backup that is restored. */
  async make(form: RestoreForm): Promise<void> {
    const args = ["backup", "--no-prune", ...form.backup];
    const { id } = await this.#succeed(args, this.#scene.source.url);
    this.#backups.set(form.name, id);
  }

  /** The milliseconds that an undisturbed restore takes, from the start of the command to its end. */
  async measure(form: RestoreForm): Promise<number> {
    await this.#renew();
    const begun = performance.now();
    await this.#succeed(this.#restoreArgs(form), serverUrl(this.#target));
    return performance.now() - begun;
  }

  /**
   * Kills a restore after a while, or so long after it has begun to make a scratch database. The database is the old or the restored one, whole; the next
   * restore succeeds and clears up what the killed one, and one that lost its power, have left.
   */
  async kill(
    form: RestoreForm,
    afterMs: number,
    from: "start" | "scratch" = "start",
  ): Promise<void> {
    await this.#renew();
    const moment = async () => {
      if ((await this.#scratches()).length === 0) return false;
      await sleep(afterMs);
      return true;
    };
    const run = await killRun(
      this.#restoreArgs(form),
      { ...this.#options(), tempFolders: [this.#temp, this.#systemTemp] },
      from === "start" ? afterMs : moment,
    );
    if (!run.killed) assert.equal(run.code, 0, run.stderr);
    const state = await this.#state();
    const what = `${form.name}, killed ${Math.round(afterMs)} ms after ${from} during ${run.programs.join(", ") || "no program"}`;
    const { old, restored } = this.#states ?? {};
    assert.ok(state === old || state === restored, `${what}: neither the old nor the restored one`);
    if (!run.killed) this.counts.ended += 1;
    else if (state === restored) this.counts.after += 1;
    else this.counts.before += 1;
    if ((await this.#scratches()).length > 0) this.counts.scratches += 1;

    const abandoned = await this.#abandonTempFolders();
    await this.#restore(form);
    assert.equal(await this.#state(), restored, what);
    assert.deepEqual(await this.#bystandersLeft(), this.#bystanders.length, what);
    assert.deepEqual(await this.#scratches(), [], what);
    for (const place of [this.#temp, this.#systemTemp]) {
      assert.deepEqual((await readdir(place)).sort(), abandoned.kept, what);
      for (const name of abandoned.kept) await rm(join(place, name), { recursive: true });
    }
  }

  async conclude(): Promise<void> {
    const journal = await verifyJournal(join(this.#scene.folder, "backups"));
    assert.deepEqual(journal.findings, []);
    await this.#dropCopies();
    for (const name of this.#bystanders) await this.#admin(`DROP DATABASE ${name}`);
  }

  /** What a loss of power leaves, beside what is in use here, what may be elsewhere, and what is none of ours. */
  async #abandonTempFolders(): Promise<{ readonly kept: readonly string[] }> {
    const { pid: dead } = spawnSync("true");
    const ours = await openTempFolder(this.#temp, process.env.PATH);
    const [, space = ""] = /-temp-([0-9a-f]+)-/.exec(ours.path) ?? [];
    await ours.remove();
    const kept = [
      `pgtenant-temp-${space}-${process.pid}-0123456789abcdef`,
      `pgtenant-temp-00000000-${dead}-0123456789abcdef`,
      "pgtenant-temp-notes",
    ].sort();
    // The second one is of an earlier process with our number.
    const left = [
      `${space}-${dead}-0123456789abcdef`,
      `${space}-${process.pid}-1-0123456789abcdef`,
    ];
    for (const place of [this.#temp, this.#systemTemp]) {
      for (const name of [...kept, ...left.map((of) => `pgtenant-temp-${of}`)]) {
        await mkdir(join(place, name), { mode: 0o700 });
        await writeFile(join(place, name, "archive.dump"), "every row, decrypted");
      }
    }
    return { kept };
  }

  /** Makes the target what it was before any restore. */
  async #renew(): Promise<void> {
    await this.#dropCopies();
    await this.#admin(`CREATE DATABASE ${this.#target} TEMPLATE ${this.#scene.live}`);
  }

  async #dropCopies(): Promise<void> {
    for (const name of [this.#target, ...(await this.#namesLike("_before_"))]) {
      await this.#admin(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
    }
  }

  /** All that is in the target: it has to be there, and let itself be connected to. */
  #state(): Promise<string> {
    return wholeDigest(serverUrl(this.#target));
  }

  /** The next run, in this process for its time: the lock, the journal and all of the restore. */
  async #restore(form: RestoreForm): Promise<void> {
    const folder = join(this.#scene.folder, "backups");
    const warn = () => undefined;
    const [identity = ""] = await parseIdentities(
      await readFile(this.#scene.identityFile, "utf8"),
      "the file",
    );
    const { TMPDIR } = process.env;
    process.env.TMPDIR = this.#systemTemp;
    try {
      await runRestore({
        backup: await openMade(this.#idOf(form), [openLocalStore(folder)]),
        connection: { databaseUrl: serverUrl(this.#target), applicationName: "pgtenant restore" },
        keys: { passphrases: [passphrase], identities: [identity] },
        programs: ourPrograms,
        mode: form.restore.includes("--in-place") ? "in-place" : "swap",
        into: undefined,
        disconnect: false,
        jobs: form.restore.includes("--jobs") ? 1 : undefined,
        tempFolder: this.#temp,
        signal: new AbortController().signal,
        progress: noProgress,
        onPlan: () => Promise.resolve(),
        onStep: () => undefined,
        filesTo: undefined,
        onlyFiles: false,
        journal: openJournal(folder, { secrets: [], warn }),
        warn,
      });
    } finally {
      if (TMPDIR === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = TMPDIR;
    }
  }

  #idOf(form: RestoreForm): string {
    const id = this.#backups.get(form.name);
    assert.ok(id !== undefined, form.name);
    return id;
  }

  #restoreArgs(form: RestoreForm): readonly string[] {
    return ["restore", this.#idOf(form), "-f", "-i", this.#scene.identityFile, ...form.restore];
  }

  #options() {
    return {
      url: serverUrl(this.#target),
      env: {
        BACKUP_DIR: join(this.#scene.folder, "backups"),
        BACKUP_TEMP_DIR: this.#temp,
        TMPDIR: this.#systemTemp,
        BACKUP_ENCRYPTION_KEY: passphrase,
      },
    };
  }

  async #succeed(args: readonly string[], url: string) {
    const result = await pgtenant([...args, "--json"], { ...this.#options(), url });
    assert.equal(result.code, 0, `pgtenant ${args.join(" ")}\n${result.stderr}`);
    return JSON.parse(result.stdout.toString());
  }

  async #namesLike(part: string): Promise<readonly string[]> {
    const rows = await this.#admin<{ datname: string }>(
      `SELECT datname FROM pg_database WHERE starts_with(datname, '${this.#target}${part}') ORDER BY 1`,
    );
    return rows.map(({ datname }) => datname);
  }

  async #scratches(): Promise<readonly string[]> {
    const names = await this.#namesLike("_restoring_");
    return names.filter((name) => !this.#bystanders.includes(name));
  }

  async #bystandersLeft(): Promise<number> {
    const list = this.#bystanders.map((name) => `'${name}'`).join(", ");
    return (await this.#admin(`SELECT FROM pg_database WHERE datname IN (${list})`)).length;
  }

  #admin<Row extends QueryResultRow>(sql: string): Promise<Row[]> {
    return withClient(serverUrl(), async (client) => (await client.query<Row>(sql)).rows);
  }
}
