import { randomBytes } from "node:crypto";
import { access, constants, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { encode } from "../bundle/encode.ts";
import type { DecryptionKeys, Encryption } from "../bundle/encryption.ts";
import { keyIdOf } from "../bundle/key-id.ts";
import { openLayers } from "../bundle/open-layers.ts";
import { AppError } from "../errors.ts";
import type { DoctorFinding } from "../finding.ts";
import { findClientPrograms } from "../postgres/client-programs.ts";
import { type ConnectionOptions, withSession } from "../postgres/session.ts";
import { systemIdentifier } from "../postgres/system-identifier.ts";
import type { Store } from "../storage/store.ts";
import { type CatalogueEntry, newestGood, readCatalogue } from "./catalogue.ts";
import type { ProgramOptions } from "./client-run.ts";
import { totalsOf } from "./manifest.ts";
import { lateFrom } from "./recovery-point.ts";

export interface ExamineBackupsOptions {
  readonly connection: ConnectionOptions;
  readonly database: string;
  readonly stores: readonly Store[];
  readonly programs: ProgramOptions;
  /** How backups are encrypted; an error when that cannot be. */
  readonly encryption: Encryption | AppError;
  /** What this host could read them with. */
  readonly keys: DecryptionKeys;
  /** The promise: at most so much is lost. */
  readonly rpoHours: number;
  readonly now: Date;
  readonly signal: AbortSignal;
}

/** The next backup may be larger than the last. */
const growth = 1.2;
const probeKey = "pgtenant-doctor-probe";

/** Looks for what would make the next backup fail, or the last one worthless. */
export async function examineBackups(
  options: ExamineBackupsOptions,
): Promise<readonly DoctorFinding[]> {
  const findings: DoctorFinding[] = [await checkPrograms(options)];
  const newest: CatalogueEntry[] = [];
  for (const store of options.stores) {
    const { entry, findings: found } = await checkStore(store, options);
    findings.push(...found);
    if (entry !== undefined) newest.push(entry);
  }
  newest.sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime());
  findings.push(checkAge(newest[0], options), ...(await checkSource(newest[0], options)));
  findings.push(...(await checkKey(newest[0], options)));
  return findings;
}

async function checkPrograms(options: ExamineBackupsOptions): Promise<DoctorFinding> {
  const check = "client-programs";
  try {
    const serverMajor = await withSession(options.connection, async (session) =>
      Math.floor(session.serverVersionNumber / 10_000),
    );
    const { binDir, path } = options.programs;
    const found = await findClientPrograms({ binDir, path, serverMajor });
    if (found.major > serverMajor) {
      return {
        level: "warning",
        check,
        message: `pg_dump ${found.version} is newer than the server, PostgreSQL ${serverMajor}: what it writes may not restore into a server of that version`,
        hint: `Install PostgreSQL's client programs of version ${serverMajor}.`,
      };
    }
    return { level: "ok", check, message: `pg_dump ${found.version} in ${found.binDir}` };
  } catch (error) {
    return problem(check, error);
  }
}

interface StoreFindings {
  readonly findings: readonly DoctorFinding[];
  readonly entry: CatalogueEntry | undefined;
}

async function checkStore(store: Store, options: ExamineBackupsOptions): Promise<StoreFindings> {
  const check = store.kind === "local" ? "backup-folder" : "backup-s3";
  try {
    if (store.kind === "local" && !(await exists(store.place))) {
      return { findings: [await checkMissingFolder(store.place)], entry: undefined };
    }
    await probe(store, options.signal);
    const { database, now, signal } = options;
    const catalogue = await readCatalogue(store, { database, now, signal });
    const entry = newestGood(catalogue, now);
    const damaged = catalogue.entries.filter(
      ({ state }) => state === "corrupt" || state === "missing-parts" || state === "incomplete",
    );
    const good = catalogue.entries.filter(({ state }) => state === "good").length;
    const findings: DoctorFinding[] = [
      {
        level: "ok",
        check,
        message: `${store.place} can be read and written; it has ${good} good backup${good === 1 ? "" : "s"} of "${database}"`,
      },
    ];
    if (damaged.length > 0) {
      findings.push({
        level: "warning",
        check: "damaged-backups",
        message: `${damaged.length} backup${damaged.length === 1 ? "" : "s"} in ${store.place} cannot be used`,
        hint: "pgtenant list names them; take a copy from another place while there is one.",
        details: damaged.map(({ id, problem: why, state }) => `${id}: ${why ?? state}`),
      });
    }
    if (store.kind === "local") {
      findings.push(...(await checkFolderMode(store.place)), await checkSpace(store.place, entry));
    }
    return { findings, entry };
  } catch (error) {
    return { findings: [problem(check, error)], entry: undefined };
  }
}

async function probe(store: Store, signal: AbortSignal): Promise<void> {
  const content = Buffer.from(`written by pgtenant doctor, to be removed\n`);
  async function* bytes(): AsyncGenerator<Uint8Array> {
    yield content;
  }
  const key = `${probeKey}-${randomBytes(4).toString("hex")}`;
  await store.write(key, bytes(), { signal });
  try {
    for await (const _ of await store.read(key, { signal }));
  } finally {
    await store.remove(key);
  }
}

async function checkMissingFolder(folder: string): Promise<DoctorFinding> {
  let parent = dirname(folder);
  while (!(await exists(parent)) && parent !== dirname(parent)) parent = dirname(parent);
  const writable = await access(parent, constants.W_OK).then(
    async () => (await stat(parent)).isDirectory(),
    () => false,
  );
  return writable
    ? {
        level: "note",
        check: "backup-folder",
        message: `${folder} does not exist yet; the first backup makes it`,
      }
    : {
        level: "problem",
        check: "backup-folder",
        message: `${folder} does not exist, and cannot be made in ${parent}`,
        hint: "Make it, owned by who runs the backups and with mode 0700, or name another with BACKUP_DIR.",
      };
}

async function checkFolderMode(folder: string): Promise<readonly DoctorFinding[]> {
  const { mode } = await stat(folder);
  if ((mode & 0o077) === 0) return [];
  return [
    {
      level: "warning",
      check: "folder-mode",
      message: `${folder} is open to others (mode ${(mode & 0o777).toString(8).padStart(4, "0")})`,
      hint: `chmod 0700 ${folder}`,
    },
  ];
}

async function checkSpace(
  folder: string,
  last: CatalogueEntry | undefined,
): Promise<DoctorFinding> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const check = "backup-space";
  const needed = last?.manifest && totalsOf(last.manifest).storedBytes;
  if (needed === undefined) {
    return {
      level: "note",
      check,
      message: `${megabytes(free)} are free in ${folder}; there is no backup yet to tell how much one takes`,
    };
  }
  const times = Math.floor(free / (needed * growth));
  if (times >= 3) {
    return {
      level: "ok",
      check,
      message: `${megabytes(free)} are free in ${folder}; the last backup took ${megabytes(needed)}`,
    };
  }
  return {
    level: times >= 1 ? "warning" : "problem",
    check,
    message: `${megabytes(free)} are free in ${folder}, and the last backup took ${megabytes(needed)}: there is room for ${times} more`,
    hint: "Free some space, keep fewer backups (BACKUP_RETENTION_DAYS), or name another disk with BACKUP_DIR.",
  };
}

function checkAge(
  newest: CatalogueEntry | undefined,
  { rpoHours, now }: ExamineBackupsOptions,
): DoctorFinding {
  const check = "newest-backup";
  if (newest === undefined) {
    return {
      level: "warning",
      check,
      message: "there is no good backup of this database",
      hint: "Make one: pgtenant backup",
    };
  }
  const hours = (now.getTime() - newest.createdAt.getTime()) / 3_600_000;
  const age = hours < 1 ? `${Math.floor(hours * 60)} min` : `${Math.floor(hours)} h`;
  return hours <= lateFrom(rpoHours)
    ? {
        level: "ok",
        check,
        message: `the newest good backup, ${newest.id}, is ${age} old; at most ${rpoHours} h are promised`,
      }
    : {
        level: "warning",
        check,
        message: `the newest good backup, ${newest.id}, is ${age} old, and at most ${rpoHours} h are promised`,
        hint: "Make one now: pgtenant backup; then see why the scheduled ones did not run: pgtenant history",
      };
}

/**
 * Backups are known by their database's name: where two servers have one of that name and one place,
 * each takes the other's backups for its own.
 */
async function checkSource(
  newest: CatalogueEntry | undefined,
  { connection }: ExamineBackupsOptions,
): Promise<readonly DoctorFinding[]> {
  const theirs = newest?.manifest?.source.systemIdentifier;
  if (newest === undefined || theirs === undefined || theirs === null) return [];
  const ours = await withSession(connection, systemIdentifier).catch(() => null);
  if (ours === null || ours === theirs) return [];
  return [
    {
      level: "warning",
      check: "backup-source",
      message: `the newest good backup, ${newest.id}, is of another server (system identifier ${theirs}, this one's is ${ours})`,
      hint: "Right after a move to this server that is as it should be: make a backup now. Else two servers share this place: give each a BACKUP_DIR and BACKUP_S3_PREFIX of its own.",
    },
  ];
}

/** Encrypts and decrypts a little, with what the settings name. */
async function checkKey(
  newest: CatalogueEntry | undefined,
  { encryption, keys }: ExamineBackupsOptions,
): Promise<readonly DoctorFinding[]> {
  const check = "backup-key";
  if (encryption instanceof AppError) return [problem(check, encryption)];
  if (encryption.method === "none") {
    return [
      {
        level: "note",
        check,
        message: "backups are not encrypted: whoever gets one can read every tenant",
        hint: "Set BACKUP_RECIPIENTS to an age public key (pgtenant keygen makes one), or BACKUP_ENCRYPT=true with BACKUP_ENCRYPTION_KEY.",
      },
    ];
  }
  const findings: DoctorFinding[] = [];
  const text = `backups are encrypted with ${encryption.method}`;
  const readable = await canRead(encryption, keys);
  const separate = "recipients" in encryption;
  findings.push({
    level: readable || separate ? "ok" : "problem",
    check,
    message: readable
      ? `${text}, and this host can read them`
      : `${text}; this host has no identity to read them, so keep one where a restore will need it`,
  });
  const ids = keyIdOf(encryption);
  const before = newest?.manifest?.keyIds ?? [];
  if (before.length > 0 && !before.some((id) => ids.includes(id))) {
    findings.push({
      level: "note",
      check: "key-changed",
      message: `the newest backup was encrypted with another key (${before.join(", ")}): keep that one as long as such backups are kept`,
    });
  }
  return findings;
}

async function canRead(encryption: Encryption, keys: DecryptionKeys): Promise<boolean> {
  async function* content(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("-- a probe\n");
  }
  try {
    const stored = encode(content(), { compression: "gzip", encryption });
    const { bytes } = await openLayers(stored, { name: "the probe", keys });
    for await (const _ of bytes);
    return true;
  } catch (error) {
    if (error instanceof AppError) return false;
    throw error;
  }
}

function problem(check: string, error: unknown): DoctorFinding {
  if (!(error instanceof AppError)) throw error;
  return {
    level: "problem",
    check,
    message: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    details: error.details,
  };
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(
    () => true,
    () => false,
  );
}

function megabytes(bytes: number): string {
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}
