/** Hears how far an operation has come; the command line shows it. */
export interface ProgressListener {
  /** True when counting first is worth it, because a bar with a time left is shown. */
  readonly wantsTotal: boolean;
  /** With what is to be done in all, in rows or in bytes as the command has chosen. */
  start(total: number): void;
  /** Where rows cannot be counted first: the share of the input that was read, 0 to 1. */
  follow(share: () => number): void;
  advance(step: string, amount: number): void;
  stop(): void;
}

export const noProgress: ProgressListener = {
  wantsTotal: false,
  start: () => undefined,
  follow: () => undefined,
  advance: () => undefined,
  stop: () => undefined,
};
