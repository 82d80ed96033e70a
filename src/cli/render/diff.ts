import type {
  ColumnDifference,
  DiffCounts,
  DiffFinding,
  DiffSummary,
  RowFinding,
} from "../../tenant/diff-types.ts";
import { type Excerpt, type ExcerptLimits, valuePair, visibleText } from "./diff-value.ts";
import { leftOutLines } from "./left-out.ts";
import { shellWord } from "./shell.ts";
import { textTable } from "./table.ts";
import { count, counted, duration } from "./units.ts";

const columns = [
  ["only in bundle", "onlyInBundle"],
  ["only live", "onlyLive"],
  ["different", "different"],
  ["not the tenant's", "boundary"],
  ["equal", "equal"],
] as const satisfies readonly (readonly [string, keyof DiffCounts])[];

const deviating = ["onlyInBundle", "onlyLive", "different", "boundary"] as const;

/** The counts, for people: tables where something is different, and a sum. */
export function diffText(diff: DiffSummary): string {
  const { tenant } = diff;
  const slug = tenant.slug ?? tenant.id;
  const lines = [
    `tenant "${slug}"${tenant.name === null ? "" : ` (${tenant.name})`}, bundle of ${diff.bundleCreatedAt} against database "${diff.database}":`,
    "",
  ];
  if (!diff.tenantExists) {
    lines.push(`  the database has no tenant "${slug}": all of it is only in the bundle`, "");
  }
  const different = diff.tables.filter((table) => deviating.some((field) => table[field] > 0));
  if (different.length > 0) lines.push(tablesText(diff, different), "");
  if (diff.leftOut.length > 0) lines.push("not compared:", ...leftOutLines(diff.leftOut, "  "), "");
  lines.push(sentence(diff));
  return lines.join("\n");
}

function tablesText(diff: DiffSummary, different: DiffSummary["tables"]): string {
  const used = columns.filter(([, field]) => field !== "boundary" || diff.counts.boundary > 0);
  const cells = (counts: DiffCounts) => used.map(([, field]) => cell(counts[field]));
  const others = diff.tables.length - different.length;
  return textTable(
    [{ title: "table" }, ...used.map(([title]) => ({ title, align: "right" as const }))],
    [
      ...different.map((table) => [table.table, ...cells(table)]),
      ...(others === 0
        ? []
        : [
            [
              counted(others, "other table"),
              ...used.map(([, field]) =>
                field === "equal"
                  ? cell(diff.counts.equal - different.reduce((sum, t) => sum + t.equal, 0))
                  : "-",
              ),
            ],
          ]),
      ["total", ...cells(diff.counts)],
    ],
    "  ",
  );
}

function cell(rows: number): string {
  return rows === 0 ? "-" : count(rows);
}

function sentence(diff: DiffSummary): string {
  const { onlyInBundle, onlyLive, different, boundary, equal } = diff.counts;
  const took = `(compared in ${duration(diff.seconds)})`;
  if (diff.equal) {
    return `equal: the ${counted(equal, "row")} of ${counted(diff.tables.length, "table")} are as the bundle has them ${took}`;
  }
  const is = (rows: number, one: string, several: string) =>
    rows === 0 ? [] : [`${counted(rows, "row")} ${rows === 1 ? one : several}`];
  const parts = [
    ...is(onlyInBundle, "is only in the bundle", "are only in the bundle"),
    ...is(onlyLive, "is only live", "are only live"),
    ...is(different, "differs", "differ"),
    ...is(boundary, "is live but not the tenant's", "are live but not the tenant's"),
  ];
  if (parts.length === 0) parts.push("the bundle has values that the database has no place for");
  return `different: ${parts.join(", ")}; ${counted(equal, "row")} ${equal === 1 ? "is" : "are"} equal ${took}`;
}

/** Each finding as a block of lines. */
export async function* findingsText(findings: AsyncIterable<DiffFinding>): AsyncGenerator<string> {
  for await (const finding of findings) yield findingText(finding);
}

const limits: ExcerptLimits = { whole: 120, differs: 80, around: 20 };

export function findingText(finding: DiffFinding): string {
  switch (finding.kind) {
    case "only-in-bundle":
      return `${rowName(finding)}: only in the bundle\n`;
    case "only-live":
      return `${rowName(finding)}: only live\n`;
    case "boundary":
      return `${rowName(finding)}: the live row ${finding.reason}\n`;
    case "different":
      return [`${rowName(finding)}: different`, ...finding.columns.map(columnText), ""].join("\n");
    case "no-place": {
      const { table, column, reason } = finding;
      return `${table}${column === undefined ? "" : `.${column}`}: ${reason}\n`;
    }
  }
}

function rowName({ table, row, label }: Pick<RowFinding, "table" | "row" | "label">): string {
  return `${table} ${visibleText(row)}${label === undefined ? "" : ` ${visibleText(label)}`}`;
}

function columnText(difference: ColumnDifference): string {
  const { column } = difference;
  if ("secret" in difference) return `  ${column}: differs (secret)`;
  const { live, bundle, remark } = valuePair(difference, limits);
  return `  ${column}: ${excerptText(live)} -> ${excerptText(bundle)}${remark === undefined ? "" : ` (${remark})`}`;
}

function excerptText({ parts, length }: Excerpt): string {
  if (parts === undefined) return "NULL";
  const text = visibleText(parts.before + parts.differs + parts.after);
  // Without quotes these would look like something else, or like nothing.
  const quoted = text === "" || text === "NULL" || text.trim() !== text ? `'${text}'` : text;
  return length === undefined ? quoted : `${quoted} [${length}]`;
}

/** What to type next; `flags` are those that say what is compared, and how it is opened. */
export function nextAfterDiff(
  diff: DiffSummary,
  bundle: string,
  flags: readonly string[],
  listed: boolean,
): string {
  if (diff.equal) return "";
  const { onlyInBundle, different, onlyLive } = diff.counts;
  // The gentlest mode with something to do.
  const mode =
    onlyInBundle > 0 || (different === 0 && onlyLive === 0)
      ? []
      : ["--mode", different > 0 ? "overwrite" : "replace"];
  const command = (...words: readonly string[]) =>
    ["pgtenant", ...words].map((word) => shellWord(word)).join(" ");
  return [
    ...(listed ? [] : [`to see each of them: ${command("diff", bundle, ...flags, "--rows")}`]),
    `to see what an import would do: ${command("import", bundle, ...mode, ...flags, "--dry-run")}`,
  ].join("\n");
}
