import type { RestorePlan } from "../../backup/restore-types.ts";
import type { RunRestoreResult } from "../../backup/run-restore.ts";
import { counted, duration } from "./units.ts";

export function restorePlanText(plan: RestorePlan): string {
  const { backup, target, kept } = plan;
  const facts = [
    backup.createdAt === null ? "of an unknown time" : `of ${backup.createdAt}`,
    ...(backup.database === null ? [] : [`of database "${backup.database}"`]),
    ...(backup.server === null ? [] : [`PostgreSQL ${backup.server}`]),
    ...(backup.rows === null ? [] : [counted(backup.rows, "row")]),
  ];
  return [
    `the backup ${backup.name} is whole: ${facts.join(", ")}`,
    "",
    ...effect(plan),
    ...(plan.clients.length > 0 && plan.mode !== "into"
      ? [
          `  connected to "${target}" now: ${counted(plan.clients.length, "client")}`,
          ...plan.clients.slice(0, 10).map((one) => `    process ${one.pid}: ${one.description}`),
        ]
      : []),
    ...(kept === null ? [] : [`  the database that is there now stays, as "${kept}"`]),
    "",
  ].join("\n");
}

function effect({ mode, target, targetExists, server }: RestorePlan): readonly string[] {
  switch (mode) {
    case "into":
      return [`it is restored into the new database "${target}" (PostgreSQL ${server})`];
    case "in-place":
      return [
        `it REPLACES the objects of database "${target}" (PostgreSQL ${server}), in one transaction; nothing of them is kept`,
      ];
    case "swap":
      return [
        targetExists
          ? `it is restored beside database "${target}" (PostgreSQL ${server}), then takes its place`
          : `it is restored as database "${target}" (PostgreSQL ${server}), which is not there yet`,
      ];
  }
}

export function restoreText({ database, files }: RunRestoreResult, seconds: number): string {
  const lines: string[] = [];
  if (database !== undefined) {
    const { plan, rows, tables, rolesCreated, notes } = database;
    lines.push(`restored database "${plan.target}" in ${duration(seconds)}`);
    if (rows !== null && tables !== null) {
      const compared = plan.backup.rows === null ? "" : ", as the manifest says";
      lines.push(`  ${counted(rows, "row")} of ${counted(tables, "table")}${compared}`);
    }
    if (rolesCreated.length > 0) lines.push(`  roles made: ${rolesCreated.join(", ")}`);
    lines.push(...notes.map((note) => `  note: ${note}`));
    if (plan.kept !== null) {
      lines.push(
        `  what was there before is in "${plan.kept}"; to drop it, once all is well:`,
        `    psql -c 'DROP DATABASE "${plan.kept.replaceAll('"', '""')}"'`,
      );
    }
  }
  if (files !== undefined) {
    lines.push(
      `put ${counted(files.files, "file")} below ${files.folder}`,
      ...files.notes.map((note) => `  note: ${note}`),
    );
  }
  return lines.join("\n");
}

export function restoreDocument({ database, files }: RunRestoreResult) {
  return { database: database ?? null, files: files ?? null };
}
