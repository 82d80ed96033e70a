import { AppError, ExitCode } from "../errors.ts";

/** Beyond this many rows a kind of conflict is only counted; nobody reads more. */
export const maxListedRows = 10_000;

/** A row of the bundle that cannot be written. */
export interface Conflict {
  /**
   * `boundary`: it would leave the tenant. `collision`: a live row of another key holds a
   * unique value. `invalid`: the target's own rules refuse it. `blocked`: the way it is to be
   * written is not possible. `needed`: it refers to a row that is not there. `changed`: it is not
   * as an import has left it.
   */
  readonly kind: "boundary" | "collision" | "invalid" | "blocked" | "needed" | "changed";
  readonly table: string;
  readonly row: string;
  readonly reason: string;
}

/** Hints that fit better than the usual ones, and what it is that is refused. */
export type ConflictAdvice = Partial<Readonly<Record<Conflict["kind"], string>>> & {
  readonly operation?: "import" | "undo";
};

/**
 * Refuses the import if anything stands against it, naming all of it.
 *
 * @throws {AppError} exit 3 when rows are invalid in themselves, else 4
 */
export function refuseConflicts(
  conflicts: readonly Conflict[],
  { operation = "import", ...advice }: ConflictAdvice = {},
): void {
  const [first] = conflicts;
  if (first === undefined) return;
  const of = (kind: Conflict["kind"]) => conflicts.filter((conflict) => conflict.kind === kind);
  const boundary = of("boundary");
  const collisions = of("collision");
  const invalid = of("invalid");
  const worst = boundary[0] ?? of("needed")[0] ?? collisions[0] ?? invalid[0] ?? first;
  const onlyInvalid = invalid.length === conflicts.length;
  const message =
    conflicts.length === 1
      ? `${worst.table} ${worst.row} ${worst.reason}; nothing was written`
      : `${conflicts.length} rows stand against this ${operation}, such as ${worst.table} ${worst.row}, which ${worst.reason}; nothing was written`;
  throw new AppError(
    codes[worst.kind],
    onlyInvalid ? ExitCode.invalidInput : ExitCode.refused,
    message,
    {
      hint: advice[worst.kind] ?? hints[worst.kind],
      details: conflicts.map((c) => `${c.table} ${c.row} ${c.reason}`),
      data: { conflicts },
    },
  );
}

const codes: Readonly<Record<Conflict["kind"], string>> = {
  boundary: "tenant-boundary",
  collision: "unique-collision",
  invalid: "invalid-rows",
  blocked: "blocked-rows",
  needed: "needed-row",
  changed: "changed-since",
};

const hints: Readonly<Record<Conflict["kind"], string>> = {
  boundary:
    "A bundle may only write its own tenant's rows. If this is the right bundle, look at the rows listed: one side or the other was changed.",
  collision:
    "A row under another id holds the value: it was probably created anew by hand. Rename or delete it, then import again; or use --mode replace, which removes what the bundle lacks; or leave the bundle's row out with --on-collision skip, or let the live row stand for it with --on-collision adopt.",
  invalid: "The target's constraints refuse these rows; compare its schema with the bundle's.",
  needed:
    "A row cannot come back without the one that it refers to. Bring that back first, from a bundle of the whole tenant; or leave out less, or (--exclude) what needs it, too.",
  blocked: "Move these rows out of the way by hand, then import again.",
  changed: "An undo takes back only what is still as the import left it.",
};

/** What to do about rows that stand against an undo. */
export const undoAdvice: ConflictAdvice = {
  operation: "undo",
  boundary:
    "An undo may only write its own tenant's rows. Something that these rows need was deleted or changed since.",
  collision:
    "A row under another id has taken the value since. Rename or delete it, then undo again.",
  blocked: "Move these rows out of the way by hand, then undo again.",
};
