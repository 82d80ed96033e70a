/** `note` is worth knowing, `warning` may fail one day or one command, `problem` will. */
export type DoctorLevel = "ok" | "note" | "warning" | "problem";

export interface DoctorFinding {
  readonly level: DoctorLevel;
  /** What was looked at, a kebab-case word. */
  readonly check: string;
  readonly message: string;
  readonly hint?: string;
  /** Everything the message could only summarise. */
  readonly details?: readonly string[];
}
