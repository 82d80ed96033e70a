/** What a run that holds a lock knows of it. */
export interface HeldLock {
  /** Fires when the lock is lost while the work goes on; what is not done yet must not be done. */
  readonly lost: AbortSignal;
}
