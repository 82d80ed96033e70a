import { type BackupId, backupIdAt, timeOfId } from "./backup-name.ts";

/** A newest backup that is further ahead of the clock was made with a wrong clock. */
const farAheadMs = 24 * 3_600_000;

export interface NewId {
  readonly id: BackupId;
  readonly warning: string | undefined;
}

/**
 * The id of a backup that begins now: unlike every existing one and behind them, also when the
 * clock was set back. Only ids more than a day ahead of the clock are not followed, since one
 * wrong clock would otherwise date every later backup wrongly.
 *
 * @param existing the ids of everything in every store that the backup goes to, foreign files
 *   included
 */
export function newBackupId(existing: Iterable<BackupId>, now: Date): NewId {
  const taken = new Set(existing);
  const times = [...taken].flatMap((id) => timeOfId(id)?.getTime() ?? []);
  const limit = now.getTime() + farAheadMs;
  const near = times.filter((time) => time <= limit);
  // A loop: there may be more ids than a call takes arguments.
  const newest = near.reduce((latest, time) => Math.max(latest, time), Number.NEGATIVE_INFINITY);
  let time = Math.max(Math.floor(now.getTime() / 1000) * 1000, newest + 1000);
  while (taken.has(backupIdAt(new Date(time)))) time += 1000;
  const ahead = times.reduce((latest, other) => Math.max(latest, other), Number.NEGATIVE_INFINITY);
  return {
    id: backupIdAt(new Date(time)),
    warning:
      ahead > limit
        ? `"${backupIdAt(new Date(ahead))}" is dated more than a day ahead of this machine's clock (${now.toISOString()}); one of the two is wrong`
        : undefined,
  };
}
