import type { Outcome } from "../journal/journal.ts";
import type { Context } from "./command.ts";

/**
 * Does something with a tenant and writes it down in the journal of BACKUP_DIR. Where there is no
 * such folder nobody keeps a journal, and none is begun: an export to the standard output needs none.
 * Where the work itself makes the folder, as for a receipt, its journal begins with this line.
 */
export async function recorded<T>(
  { config, output, signal }: Context,
  operation: "export" | "import" | "undo",
  subject: string,
  work: () => Promise<T>,
  outcomeOf: (result: T) => Outcome,
): Promise<T> {
  const { openJournalOf, withJournal } = await import("../journal/journal.ts");
  const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
  const warn = (text: string) => output.warn(text);
  const { secrets, backup, databaseUrl } = config;
  const journal = await openJournalOf(backup.directory, { secrets, warn, signal });
  const what = { database: databaseOfUrl(databaseUrl), subject };
  if (journal === undefined) {
    const result = await work();
    const begun = await openJournalOf(backup.directory, { secrets, warn, signal });
    if (begun === undefined) return result;
    return await withJournal(begun, operation, what, warn, async () => result, outcomeOf);
  }
  return await withJournal(journal, operation, what, warn, work, outcomeOf);
}
