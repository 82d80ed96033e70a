import { type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { text } from "node:stream/consumers";
import { storageError } from "../../storage/local-file.ts";
import { oneChunk } from "../../storage/one-chunk.ts";
import type { Store } from "../../storage/store.ts";
import { idOfProgress, progressPrefix } from "./set-name.ts";
import { type ProgressRecord, SetProgress } from "./set-progress.ts";
import type { SetHeading } from "./tenant-set.ts";

/** Where a set's progress is written down, each line once. */
export interface ProgressLog {
  /** In a folder it resolves when the line is written, and for `durable` ones on the disk. */
  append(record: ProgressRecord, durable?: boolean): Promise<void>;
  /** Writes what is not written yet. */
  close(): Promise<void>;
}

/**
 * In a folder the progress is one file that lines are added to. In S3, where nothing can be added
 * to an object, each few seconds make a numbered object of the lines since the last one; a run
 * that is killed loses those few.
 */
export async function openProgressLog(store: Store, id: string): Promise<ProgressLog> {
  return store.kind === "local"
    ? await openProgressFile(store.nameOf(`${progressPrefix(id)}.jsonl`))
    : await openProgressParts(store, progressPrefix(id));
}

/** Lines that several tenants add at the same time share a write and a sync. */
async function openProgressFile(path: string): Promise<ProgressLog> {
  const handle = await openToAppend(path);
  // A line that a killed run has not finished stays by itself, and counts for nothing.
  let waiting = (await handle.stat()).size > 0 ? "\n" : "";
  let sync = false;
  let flushing: Promise<void> | undefined;
  const flush = async (): Promise<void> => {
    // What comes in the meantime is taken along.
    await Promise.resolve();
    const [lines, durable] = [waiting, sync];
    [waiting, sync, flushing] = ["", false, undefined];
    await handle.appendFile(lines);
    if (durable) await handle.datasync();
  };
  let last: Promise<void> = Promise.resolve();
  const append = (lines: string, durable: boolean): Promise<void> => {
    waiting += lines;
    sync ||= durable;
    if (flushing === undefined) {
      flushing = last.then(flush);
      last = flushing;
    }
    return flushing.catch((error: unknown) => {
      throw storageError(error, path);
    });
  };
  return {
    append: (record, durable = false) => append(lineOf(record), durable),
    async close() {
      await last.catch(() => undefined);
      await handle.close();
    },
  };
}

async function openToAppend(path: string): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await open(path, "a", 0o600);
  } catch (error) {
    throw storageError(error, path);
  }
}

const partEveryMs = 2_000;

async function openProgressParts(store: Store, prefix: string): Promise<ProgressLog> {
  let number = 0;
  for await (const { key } of store.list(`${prefix}/`)) {
    number = Math.max(number, Number(/(\d+)\.jsonl$/.exec(key)?.[1] ?? 0));
  }
  let waiting = "";
  let last: Promise<void> = Promise.resolve();
  let failure: { readonly error: unknown } | undefined;
  const flush = (): Promise<void> => {
    last = last.then(async () => {
      if (waiting === "" || failure !== undefined) return;
      const lines = waiting;
      waiting = "";
      number += 1;
      try {
        await store.write(`${prefix}/${String(number).padStart(6, "0")}.jsonl`, oneChunk(lines));
      } catch (error) {
        failure = { error };
      }
    });
    return last;
  };
  const timer = setInterval(() => void flush(), partEveryMs);
  timer.unref();
  return {
    async append(record) {
      if (failure !== undefined) throw failure.error;
      waiting += lineOf(record);
      // The first lines say what all the others belong to.
      if (number === 0 && "snapshot" in record) await flush();
    },
    async close() {
      clearInterval(timer);
      await flush();
      if (failure !== undefined) throw failure.error;
    },
  };
}

function lineOf(record: ProgressRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** The ids of the sets in a place that have progress, the newest first. */
export async function listUnfinished(store: Store): Promise<readonly string[]> {
  const ids = new Set<string>();
  for await (const { key } of store.list("set_")) {
    const id = idOfProgress(key);
    if (id !== undefined) ids.add(id);
  }
  return [...ids].sort().reverse();
}

/** What a set's progress says; undefined when its first line is not there. */
export async function readProgress(store: Store, id: string): Promise<SetProgress | undefined> {
  let progress: SetProgress | undefined;
  for (const key of await keysOfProgress(store, id)) {
    for (const line of (await text(await store.read(key))).split("\n")) {
      const record = parsed(line);
      if (record === undefined) continue;
      if ("heading" in record) progress ??= headed(record.heading, id);
      else progress?.apply(record);
    }
  }
  return progress;
}

/** Afterwards nothing is left to go on with. */
export async function removeProgress(store: Store, id: string): Promise<void> {
  for (const key of await keysOfProgress(store, id)) await store.remove(key);
}

async function keysOfProgress(store: Store, id: string): Promise<readonly string[]> {
  const found = await Array.fromAsync(store.list(progressPrefix(id)));
  return found.map(({ key }) => key).filter((key) => idOfProgress(key) === id);
}

function headed(heading: SetHeading, id: string): SetProgress | undefined {
  return heading.set === 1 && heading.id === id ? new SetProgress(heading) : undefined;
}

/** Our own lines; what a kill has cut short is none. */
function parsed(line: string): ProgressRecord | undefined {
  if (line === "") return undefined;
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null ? (value as ProgressRecord) : undefined;
  } catch {
    return undefined;
  }
}
