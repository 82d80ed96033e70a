import { type Check, isUnread, type ServiceStatus } from "../../service/service-status.ts";
import { textTable } from "./table.ts";
import { age, size } from "./units.ts";

const shownFailures = 3;

export function statusText(status: ServiceStatus): string {
  const { promise, rpo, rto, verified, running, failures, places, disk, journal, at } = status;
  const check = (title: string, { state, sentence }: Check) => [title, state, sentence];
  const open = failures.filter(({ resolved }) => !resolved);
  const told = new Set([rpo, rto, verified].map(({ sentence }) => sentence));
  const blocks = [
    promise.sentence,
    textTable(
      [{ title: "promise" }, { title: "state" }, { title: "why" }],
      [
        check("newest backup (RPO)", rpo),
        check("restore (RTO)", rto),
        check("last proved", verified),
      ],
    ),
    promise.remarks.filter((remark) => !told.has(remark)).join("\n"),
    running
      .map(({ operation, seconds, host, step }) =>
        [
          `running now: ${operation}, for ${age(seconds)}`,
          host === null ? "" : `on ${host}, by the journal`,
          step,
        ]
          .filter(Boolean)
          .join(", "),
      )
      .join("\n"),
    open
      .slice(0, shownFailures)
      .map(
        ({ at: when, operation, message, hint }) =>
          `failed ${age((Date.parse(at) - Date.parse(when)) / 1000)} ago: ${operation}: ${message}\n  hint: ${hint}`,
      )
      .join("\n"),
    textTable(
      [
        { title: "place" },
        { title: "state" },
        { title: "backups", align: "right" },
        { title: "size", align: "right" },
        { title: "newest" },
      ],
      places.map(({ place, state, readAt, backups, bytes, newest }) => [
        place,
        state,
        readAt === null ? "" : String(backups),
        readAt === null ? "" : size(bytes),
        newest ?? "",
      ]),
    ),
    [
      disk === null ? "" : `free on the disk of ${disk.path}: ${size(disk.freeBytes)}`,
      isUnread(journal)
        ? (journal.problem ?? "")
        : journal.intact === null
          ? ""
          : `journal: ${journal.records} lines, ${journal.problem ?? "each follows the one before it"}`,
    ]
      .filter((line) => line !== "")
      .join("\n"),
    promise.advice === null ? "" : `what to do: ${promise.advice}`,
  ];
  return blocks.filter((block) => block !== "").join("\n\n");
}
