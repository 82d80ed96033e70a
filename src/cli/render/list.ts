import type { BackupCopy, BackupList, ListedBackup } from "../../backup/list-backups.ts";
import { errorDocument } from "../report-error.ts";
import { textTable } from "./table.ts";
import { age, size } from "./units.ts";

export function listText(list: BackupList): string {
  const { database, backups, others, places } = list;
  const where = places.join(" or ") || "any place that could be reached";
  const good =
    backups.length === 0
      ? `there is no good backup of database "${database}" in ${where}`
      : textTable(
          [
            { title: "backup" },
            { title: "age", align: "right" },
            { title: "size", align: "right" },
            { title: "layers" },
            { title: "verified" },
            { title: "where" },
          ],
          backups.map((backup) => [
            backup.id,
            age(backup.ageSeconds),
            size(backup.bytes),
            layers(backup),
            verified(backup),
            backup.copies.map(copyText).join(", "),
          ]),
        );
  if (others.length === 0) return good;
  const rest = textTable(
    [
      { title: "what is named like a backup" },
      { title: "age", align: "right" },
      { title: "size", align: "right" },
      { title: "what it is" },
      { title: "where" },
    ],
    others.map((backup) => [
      backup.state === "foreign" ? (backup.copies[0]?.keys.join(", ") ?? backup.id) : backup.id,
      age(backup.ageSeconds),
      size(backup.bytes),
      whatItIs(backup),
      backup.copies.map(copyText).join(", "),
    ]),
  );
  return `${good}\n\n${rest}`;
}

/** The list for programs, with errors as every command prints them. */
export function listDocument(list: BackupList) {
  const { unreachable, ...rest } = list;
  return {
    ...rest,
    unreachable: unreachable.map(({ place, error }) => ({ place, error: errorDocument(error) })),
  };
}

/** `plain, gzip, openssl`, and what else the set has. */
function layers({ format, parts }: ListedBackup): string {
  const dump = parts.find(({ kind }) => kind === "database") ?? parts[0];
  const words = [
    format ?? "",
    dump === undefined || dump.compression === "none" ? "" : dump.compression,
    dump === undefined || dump.encryption === "none" ? "" : dump.encryption,
    parts.some(({ kind }) => kind === "files") ? "with files" : "",
  ];
  return words.filter((word) => word !== "").join(", ");
}

/** The latest good verification of any copy; a failed one is told below, as what is wrong. */
function verified({ copies }: ListedBackup): string {
  const [latest] = copies
    .flatMap((copy) => copy.verified ?? [])
    .sort((a, b) => Date.parse(b.at) - Date.parse(a.at));
  if (latest === undefined) return "never";
  const when = latest.at.slice(0, 16).replace("T", " ");
  return latest.checked === "all" ? when : `${when} (stored bytes)`;
}

function copyText({ place, pinned }: BackupCopy): string {
  return pinned === undefined ? place : `${place} (pinned: ${pinned.reason})`;
}

function whatItIs({ state, database, problem }: ListedBackup): string {
  const because = problem === undefined ? "" : `: ${problem}`;
  switch (state) {
    case "foreign":
      return `not written by pgtenant${because}`;
    case "other-database":
      return `of database "${database}"`;
    case "pending":
      return `running, or just died${because}`;
    case "incomplete":
      return `never completed${because}`;
    case "missing-parts":
      return `damaged${because}`;
    case "corrupt":
      return `corrupt${because}`;
    case "good":
      return "good";
  }
}
