import type { TenantIdentity } from "../../bundle/format.ts";
import { AppError } from "../../errors.ts";
import type { Store } from "../../storage/store.ts";
import { toolVersion } from "../../version.ts";
import { listUnfinished, readProgress, removeProgress } from "./progress-log.ts";
import { writeManifest } from "./set-manifest.ts";
import { idOfManifest, idOfProgress, setIdAt } from "./set-name.ts";
import { SetProgress } from "./set-progress.ts";
import type { SetHeading, SetTenant } from "./tenant-set.ts";

/** A set that began longer ago is too far from one moment to go on with. */
const longestMs = 24 * 3_600_000;

export interface SetListener {
  /** How it goes, for people. */
  readonly note: (text: string) => void;
  readonly warn: (text: string) => void;
}

export interface BegunSet {
  readonly progress: SetProgress;
  readonly resumed: boolean;
}

/** A set of its own, whose name no other one in the place has. */
export async function newSet(
  store: Store,
  heading: Omit<SetHeading, "set" | "id" | "tool" | "createdAt">,
): Promise<BegunSet> {
  const now = new Date();
  const taken = new Set<string>();
  for await (const { key } of store.list("set_")) {
    const id = idOfProgress(key) ?? idOfManifest(key);
    if (id !== undefined) taken.add(id);
  }
  let time = now.getTime();
  while (taken.has(setIdAt(new Date(time), heading.shard))) time += 1000;
  const id = setIdAt(new Date(time), heading.shard);
  const tool = `pgtenant ${toolVersion}`;
  const { database, profile, shard, series } = heading;
  const createdAt = now.toISOString();
  const full: SetHeading = { set: 1, id, tool, createdAt, database, profile, shard, series };
  return { progress: new SetProgress(full), resumed: false };
}

/**
 * The newest set of this series that was not finished. One that began too long ago, or before
 * `since`, is closed: its manifest tells what there is, and nothing goes on with it.
 */
export async function findUnfinished(
  store: Store,
  series: string,
  since: Date | undefined,
  { note }: SetListener,
): Promise<BegunSet | undefined> {
  for (const id of await listUnfinished(store)) {
    const progress = await readProgress(store, id);
    if (progress === undefined || progress.heading.series !== series) continue;
    const { createdAt } = progress.heading;
    const late = lateness(createdAt, since);
    if (late === undefined) return { progress, resumed: true };
    await writeManifest(store, progress.manifest(undefined, new Date().toISOString()));
    await removeProgress(store, id);
    note(
      `the unfinished set "${store.nameOf(id)}" began at ${createdAt}, ${late}: it is closed as it is, and a new one begins`,
    );
  }
  return undefined;
}

/** Why a set is not gone on with, for people. */
function lateness(createdAt: string, since: Date | undefined): string | undefined {
  const began = Date.parse(createdAt);
  if (Date.now() - began >= longestMs) return "more than 24 hours ago";
  return since !== undefined && began < +since ? `before ${since.toISOString()}` : undefined;
}

const mostNamed = 20;
const checksAtOnce = 16;

/**
 * Looks at what a set has before it is gone on with: bundles that are not there any more, or have
 * another size, are written anew; what a killed run has left half-written is cleared away.
 */
export async function takeStock(
  store: Store,
  { heading, done, begun, found }: SetProgress,
  tenants: readonly TenantIdentity[],
  { note, warn }: SetListener,
): Promise<void> {
  const current = new Set(tenants.map(({ id }) => id));
  const recorded = new Set([...done.values()].map(({ path }) => path));
  const lost: SetTenant[] = [];
  await eachOf([...done.values()], async (tenant) => {
    const there = await store.stat(tenant.path);
    if (there?.bytes !== tenant.bytes) lost.push(tenant);
  });
  for (const { id } of lost) done.delete(id);
  const left = [...done.keys()].filter((id) => current.has(id)).length;
  note(
    `going on with the set "${store.nameOf(heading.id)}", begun at ${heading.createdAt}: ${left} of ${tenants.length} tenants are exported`,
  );
  tell(warn, lost.map(nameOf), "whose bundle is missing or has another size, exported anew");
  const gone = [...done.values()].filter(({ id }) => !current.has(id));
  tell(note, gone.map(nameOf), "not in the database any more, whose bundle is kept");
  const added = tenants.filter(({ id }) => !found.has(id));
  tell(note, added.map(nameOf), "new since the set began");
  await eachOf(
    [...begun].filter((path) => !recorded.has(path)),
    async (path) => {
      try {
        for (const name of await store.sweep(path)) {
          note(`removed what the earlier run has left: ${name}`);
        }
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        warn(
          `what the earlier run may have left of "${store.nameOf(path)}" stays: ${error.message}`,
        );
      }
      if ((await store.stat(path)) === undefined) return;
      note(
        `the bundle "${store.nameOf(path)}" was whole when the earlier run ended, and not written down: it is left, and its tenant exported anew`,
      );
    },
  );
}

function nameOf({ slug, id }: { readonly slug: string | null; readonly id: string }): string {
  return `"${slug ?? id}"`;
}

function tell(say: (text: string) => void, names: readonly string[], what: string): void {
  if (names.length === 0) return;
  const more = names.length - mostNamed;
  const listed = names.slice(0, mostNamed).join(", ");
  say(
    `${names.length} tenant${names.length === 1 ? "" : "s"} ${what}: ${listed}${more > 0 ? ` and ${more} more` : ""}`,
  );
}

/** In S3 a look takes a while, so that several are under way at a time. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const take = async () => {
    for (let item = items[next]; item !== undefined; item = items[next]) {
      next += 1;
      await work(item);
    }
  };
  await Promise.all(Array.from({ length: checksAtOnce }, take));
}
