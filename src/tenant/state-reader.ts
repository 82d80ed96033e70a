import type { Token } from "stream-json/core/parser.js";
import { AppError, ExitCode } from "../errors.ts";
import { incompleteDocument } from "./state-tokens.ts";

/** A value of the document: a scalar as it stands there, anything nested as JSON text. */
export interface StateValue {
  readonly kind: "string" | "number" | "boolean" | "null" | "nested";
  readonly text: string;
}

export type StateRow = ReadonlyMap<string, StateValue>;

export interface StateListener {
  /** Whether the rows of this key are wanted: an object for one, an array for many. */
  holdsRows(key: string): "one" | "many" | undefined;
  row(key: string, row: StateRow, place: string): void;
  scalar(key: string, value: StateValue): void;
  /** A key that nobody asked for, or its array, with the number of its elements. */
  unread(key: string, elements: number): void;
}

const maxDepth = 64;
const maxKeyLength = 1000;
/** Of one object: no row has as many columns. */
const maxKeys = 1600;

/**
 * Puts the tokens of a state document together to rows, one at a time. Keys may come in any order,
 * and none twice; what nobody asks for is passed over, and not held.
 */
export class StateReader {
  readonly #name: string;
  readonly #listener: StateListener;
  readonly #maxRowLength: number;
  #depth = 0;
  #seen = new Set<string>();
  /** The document's key, the index in its array, the row's key. */
  #key = "";
  #index = -1;
  #field = "";
  #row: Map<string, StateValue> | undefined;
  #rowLength = 0;
  /** The parts of the nested value that is being read, and the depth at which it began. */
  #nested: string[] | undefined;
  #nestedDepth = 0;
  #first = true;
  #skipping = false;
  #elements = 0;
  #text = "";
  #isKey = false;
  #done = false;

  constructor(name: string, listener: StateListener, maxRowLength: number) {
    this.#name = name;
    this.#listener = listener;
    this.#maxRowLength = maxRowLength;
  }

  place(): string {
    if (this.#key === "") return "";
    const row = this.#index < 0 ? "" : `[${this.#index}]`;
    return `${shown(this.#key)}${row}${this.#field === "" ? "" : `.${shown(this.#field)}`}`;
  }

  token(token: Token): void {
    switch (token.name) {
      case "startObject":
      case "startArray":
        this.#open(token.name === "startArray");
        break;
      case "endObject":
      case "endArray":
        this.#close(token.name === "endArray" ? "]" : "}");
        break;
      case "startKey":
      case "startString":
      case "startNumber":
        this.#text = "";
        this.#isKey = token.name === "startKey";
        break;
      case "stringChunk":
      case "numberChunk":
        this.#collect(token.value);
        break;
      case "endKey":
        this.#isKey = false;
        this.#named(this.#text);
        break;
      case "endString":
        if (!this.#text.isWellFormed()) throw this.#fail("has half of a surrogate pair");
        this.#value({ kind: "string", text: this.#text });
        break;
      case "endNumber":
        this.#value({ kind: "number", text: this.#text });
        break;
      case "trueValue":
      case "falseValue":
        this.#value({ kind: "boolean", text: String(token.value) });
        break;
      case "nullValue":
        this.#value({ kind: "null", text: "null" });
        break;
      default:
        break;
    }
  }

  /** @throws {AppError} exit 3 when the document has not come to its end */
  end(): void {
    if (!this.#done) throw incompleteDocument(this.#name, this.place());
  }

  #collect(part: string): void {
    const length = this.#text.length + part.length;
    if (this.#isKey && length > maxKeyLength) {
      throw this.#fail(`has a key of more than ${maxKeyLength} characters`);
    }
    if (this.#skipping && !this.#isKey) return;
    if (!this.#skipping) this.#grow(part.length);
    this.#text += part;
  }

  /** A row is held as a whole, so it has to end somewhere. */
  #grow(length: number): void {
    this.#rowLength += length;
    if (this.#rowLength <= this.#maxRowLength) return;
    throw new AppError(
      "row-too-long",
      ExitCode.invalidInput,
      `${this.#name}: ${this.place()} is longer than ${this.#maxRowLength} bytes`,
      { hint: "Give a higher limit with --max-row-size, such as --max-row-size 256MiB." },
    );
  }

  #named(key: string): void {
    if (this.#skipping) return;
    if (this.#nested !== undefined) {
      this.#append(`${JSON.stringify(key)}:`);
      this.#first = true;
      return;
    }
    if (this.#row !== undefined) {
      this.#field = key;
      if (this.#row.has(key)) throw this.#fail("stands there twice");
      if (this.#row.size >= maxKeys) throw this.#fail("is one key too many for a row");
      return;
    }
    this.#key = key;
    this.#index = -1;
    this.#rowLength = 0;
    if (this.#seen.has(key)) throw this.#fail("stands there twice");
    if (this.#seen.size >= maxKeys) throw this.#fail("is one key too many");
    this.#seen.add(key);
  }

  #open(isArray: boolean): void {
    this.#depth += 1;
    if (this.#depth > maxDepth) throw this.#fail(`is nested more than ${maxDepth} deep`);
    if (this.#skipping) {
      if (this.#depth === 3) this.#elements += 1;
    } else if (this.#nested !== undefined) {
      this.#append(isArray ? "[" : "{");
      this.#first = true;
    } else if (this.#depth === 1) {
      if (isArray) throw this.#fail("is an array, and no state document");
    } else if (this.#depth === 2) {
      this.#openMember(isArray);
    } else if (this.#row === undefined) {
      this.#index += 1;
      if (isArray) throw this.#fail("is an array, and no row");
      this.#begin();
    } else {
      this.#nested = [isArray ? "[" : "{"];
      this.#nestedDepth = this.#depth;
      this.#first = true;
    }
  }

  #openMember(isArray: boolean): void {
    this.#index = -1;
    this.#elements = 0;
    const rows = this.#listener.holdsRows(this.#key);
    if (rows === undefined) {
      this.#skipping = true;
      return;
    }
    if (isArray !== (rows === "many")) {
      throw this.#fail(isArray ? "is an array, and no object" : "is an object, and no array");
    }
    if (!isArray) this.#begin();
  }

  #begin(): void {
    this.#row = new Map();
    this.#rowLength = 0;
  }

  #close(bracket: "]" | "}"): void {
    this.#depth -= 1;
    if (this.#skipping) {
      if (this.#depth > 1) return;
      this.#skipping = false;
      this.#listener.unread(this.#key, this.#elements);
    } else if (this.#nested !== undefined) {
      this.#nested.push(bracket);
      this.#first = false;
      if (this.#depth >= this.#nestedDepth) return;
      const text = this.#nested.join("");
      this.#nested = undefined;
      this.#value({ kind: "nested", text });
    } else if (this.#row !== undefined) {
      const row = this.#row;
      this.#field = "";
      this.#row = undefined;
      this.#listener.row(this.#key, row, this.place());
    } else if (this.#depth === 0) {
      this.#done = true;
    }
  }

  #value(value: StateValue): void {
    if (this.#skipping) {
      if (this.#depth === 2) this.#elements += 1;
      return;
    }
    if (this.#nested !== undefined) {
      const text = value.kind === "string" ? JSON.stringify(value.text) : value.text;
      this.#append(text);
      this.#first = false;
    } else if (this.#row !== undefined) {
      this.#row.set(this.#field, value);
    } else if (this.#depth === 0) {
      throw this.#fail("is a single value, and no state document");
    } else if (this.#depth === 1) {
      this.#member(value);
    } else {
      this.#index += 1;
      throw this.#fail(`is ${withArticle(value.kind)}, and no row`);
    }
  }

  #member(value: StateValue): void {
    this.#index = -1;
    const rows = this.#listener.holdsRows(this.#key);
    if (rows === undefined) {
      this.#listener.scalar(this.#key, value);
    } else if (value.kind !== "null") {
      const wanted = rows === "many" ? "array" : "object";
      throw this.#fail(`is ${withArticle(value.kind)}, and no ${wanted}`);
    }
  }

  /** With a comma before all but the first; after a key, its value is the first. */
  #append(text: string): void {
    this.#grow(1);
    this.#nested?.push(this.#first ? text : `,${text}`);
  }

  #fail(what: string): AppError {
    const place = this.place();
    return new AppError(
      "invalid-document",
      ExitCode.invalidInput,
      place === "" ? `${this.#name} ${what}` : `${this.#name}: ${place} ${what}`,
      { hint: "Give a state document as N-Kudo writes it." },
    );
  }
}

/** A key may be any text, and stands in messages. */
export function shown(key: string): string {
  return /^[\w$-]{1,64}$/.test(key) ? key : JSON.stringify(key.slice(0, 40));
}

export function withArticle(kind: StateValue["kind"]): string {
  return {
    string: "text",
    number: "a number",
    boolean: "true or false",
    null: "null",
    nested: "an object or array",
  }[kind];
}
