import { AppError, ExitCode } from "../errors.ts";
import { type StateListener, StateReader, type StateRow, type StateValue } from "./state-reader.ts";
import { StateRows } from "./state-rows.ts";
import { StateSpool } from "./state-spool.ts";
import { neverFilled, rootTable, stateTables, stateVersion } from "./state-tables.ts";
import { type TokenSink, tokenizeDocument } from "./state-tokens.ts";
import { timestamp } from "./state-values.ts";

export interface StateDocument {
  readonly tenantId: string;
  /** ISO 8601, UTC. */
  readonly exportedAt: string;
  /** By table. */
  readonly tables: ReadonlyMap<string, StateRows>;
  /** Keys that nothing was taken from, with the number of their elements. */
  readonly unread: ReadonlyMap<string, number>;
}

const mostNamed = 50;

/** Places for a document's rows, by its keys, each with a file in `folder`, which has to be private. */
export type StateSpools = ReadonlyMap<string, StateSpool>;

export async function openSpools(folder: string): Promise<StateSpools> {
  const spools = new Map<string, StateSpool>();
  for (const { array } of stateTables) spools.set(array, await StateSpool.open(folder, array));
  return spools;
}

/**
 * Reads a state document through, its rows into the spools.
 *
 * @throws {AppError} exit 3 for what is no whole and valid state document of version 1.0
 */
export async function readStateDocument(
  source: AsyncIterable<Uint8Array>,
  spools: StateSpools,
  options: {
    /** How messages call the document. */
    readonly name: string;
    readonly maxRowBytes: number;
    readonly onRow: (table: string) => void;
  },
): Promise<StateDocument> {
  const { name } = options;
  const rows = new Map<string, StateRows>();
  for (const table of stateTables) {
    const spool = spools.get(table.array);
    if (spool !== undefined) rows.set(table.array, new StateRows(table, spool, name));
  }
  const collected = new Collector(name, rows, options.onRow);
  const reader = new StateReader(name, collected, options.maxRowBytes);
  const sink: TokenSink = {
    token: (token) => reader.token(token),
    place: () => reader.place(),
    settle: async () => {
      for (const spool of spools.values()) await spool.settle();
    },
  };
  await tokenizeDocument(source, name, sink);
  reader.end();
  return collected.document();
}

class Collector implements StateListener {
  readonly #name: string;
  readonly #rows: ReadonlyMap<string, StateRows>;
  readonly #onRow: (table: string) => void;
  readonly #unread = new Map<string, number>();
  #version: string | undefined;
  #exportedAt: string | undefined;
  /** As the document says it, or the first row; the place says which. */
  #tenant: { readonly id: string; readonly place: string } | undefined;
  #named = false;

  constructor(name: string, rows: ReadonlyMap<string, StateRows>, onRow: (table: string) => void) {
    this.#name = name;
    this.#rows = rows;
    this.#onRow = onRow;
  }

  holdsRows(key: string): "one" | "many" | undefined {
    const table = this.#rows.get(key)?.table;
    if (table === undefined) return undefined;
    return table.name === rootTable ? "one" : "many";
  }

  row(key: string, row: StateRow, place: string): void {
    const rows = this.#rows.get(key);
    if (rows === undefined) return;
    rows.add(row, place, (id, at) => this.#requireTenant(id, at));
    this.#onRow(rows.table.name);
  }

  scalar(key: string, value: StateValue): void {
    switch (key) {
      case "version":
        if (value.kind !== "string" || value.text !== stateVersion) throw this.#wrongVersion(value);
        this.#version = value.text;
        return;
      case "exported_at": {
        const converted = value.kind === "string" ? timestamp(value.text) : undefined;
        if (converted === undefined || !("json" in converted) || converted.json === undefined) {
          throw this.#invalid("exported_at is no time");
        }
        this.#exportedAt = converted.json.slice(1, -1).replace("+00:00", "Z");
        return;
      }
      case "tenant_id":
        if (
          value.kind !== "string" ||
          !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value.text)
        ) {
          throw this.#invalid("tenant_id is no UUID");
        }
        this.#named = true;
        this.#requireTenant(value.text.toLowerCase(), key);
        return;
      default:
        if (value.kind !== "null") this.#noteUnread(key, 1);
    }
  }

  unread(key: string, elements: number): void {
    if (key === "version" || key === "exported_at" || key === "tenant_id") {
      throw this.#invalid(`${key} is an object or array`);
    }
    if (elements > 0 || !Object.hasOwn(neverFilled, key)) this.#noteUnread(key, elements);
  }

  document(): StateDocument {
    const missing =
      this.#version === undefined
        ? "version"
        : this.#exportedAt === undefined
          ? "exported_at"
          : this.#named
            ? undefined
            : "tenant_id";
    if (missing !== undefined || this.#exportedAt === undefined || this.#tenant === undefined) {
      throw this.#invalid(`it is no state document: it has no "${missing}"`);
    }
    for (const rows of this.#rows.values()) rows.refuseDuplicates();
    return {
      tenantId: this.#tenant.id,
      exportedAt: this.#exportedAt,
      tables: new Map([...this.#rows.values()].map((rows) => [rows.table.name, rows])),
      unread: this.#unread,
    };
  }

  #requireTenant(id: string, place: string): void {
    this.#tenant ??= { id, place };
    if (this.#tenant.id === id) return;
    const [first, other] =
      place === "tenant_id" ? [place, this.#tenant.place] : [this.#tenant.place, place];
    throw this.#invalid(`${other} is another tenant's than ${first} says`);
  }

  #noteUnread(key: string, elements: number): void {
    if (this.#unread.size < mostNamed) this.#unread.set(key, elements);
  }

  #wrongVersion(value: StateValue): AppError {
    const version = JSON.stringify(value.text.slice(0, 40));
    return new AppError(
      "wrong-version",
      ExitCode.invalidInput,
      `${this.#name} is a state document of version ${version}, and only "${stateVersion}" can be converted`,
      { hint: "Export the tenant from its database instead: pgtenant export TENANT." },
    );
  }

  #invalid(what: string): AppError {
    return new AppError("invalid-document", ExitCode.invalidInput, `${this.#name}: ${what}`, {
      hint: "Give a state document as N-Kudo writes it; nothing was written.",
    });
  }
}
