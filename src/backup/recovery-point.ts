/**
 * The age from which on a backup is late, in the unit of the promised one: a run takes its time, so
 * that is an hour after the day, as the guide's alert has it.
 */
export function lateFrom(promised: number): number {
  return promised + promised / 24;
}
