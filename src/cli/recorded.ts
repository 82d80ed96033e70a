import type { Outcome } from "../journal/journal.ts";
import type { Context } from "./command.ts";

/**
 * Does something with a tenant and writes it down in the journal of BACKUP_DIR. Where there is no
 * such folder nobody keeps a journal, and none is begun: an export to the standard output needs none.
 */
export async function recorded<T>(
  { config, output }: Context,
  operation: "export" | "import",
  subject: string,
  work: () => Promise<T>,
  outcomeOf: (result: T) => Outcome,
): Promise<T> {
  const { openJournalOf, withJournal } = await import("../journal/journal.ts");
  const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
  const warn = (text: string) => output.warn(text);
  const { secrets, backup, databaseUrl } = config;
  const journal = await openJournalOf(backup.directory, { secrets, warn });
  if (journal === undefined) return await work();
  const what = { database: databaseOfUrl(databaseUrl), subject };
  return await withJournal(journal, operation, what, warn, work, outcomeOf);
}
