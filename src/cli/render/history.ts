import type { RecordedOperation } from "../../journal/recent-operations.ts";
import type { JournalVerification } from "../../journal/verify-journal.ts";
import { textTable } from "./table.ts";
import { counted, duration } from "./units.ts";

export function historyText(operations: readonly RecordedOperation[], folder: string): string {
  if (operations.length === 0) return `no such operation stands in the journal of ${folder}`;
  return textTable(
    [
      { title: "started (UTC)" },
      { title: "operation" },
      { title: "result" },
      { title: "took", align: "right" },
      { title: "by" },
      { title: "what" },
    ],
    operations.map(({ started, ended, result }) => [
      started.at.slice(0, 19).replace("T", " "),
      started.operation,
      ended?.exitCode === undefined || ended.exitCode === 0
        ? result
        : `${result} (exit ${ended.exitCode})`,
      ended?.seconds === undefined ? "" : duration(ended.seconds),
      started.who,
      what({ started, ended, result }),
    ]),
  );
}

function what({ started, ended }: RecordedOperation): string {
  const { database } = started;
  const subject = ended?.subject ?? started.subject;
  const error = ended?.details?.error;
  const message =
    typeof error === "object" && error !== null && "message" in error ? String(error.message) : "";
  const receipt = ended?.details?.receipt;
  return [
    subject ?? "",
    database === undefined ? "" : `database "${database}"`,
    typeof receipt === "string" ? `receipt ${receipt}` : "",
    message.length > 100 ? `${message.slice(0, 100)}…` : message,
  ]
    .filter((word) => word !== "")
    .join(", ");
}

export function verificationText({ path, records, head, warnings }: JournalVerification): string {
  return [
    `the journal ${path} holds: ${counted(records, "record")}, every hash and link fits`,
    ...(warnings === 0
      ? []
      : [`${counted(warnings, "line")} cut short by a crash; nothing else is missing`]),
    `its last record is ${head.seq}, hash ${head.hash}`,
  ].join("\n");
}
