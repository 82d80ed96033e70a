import { isIP } from "node:net";
import type { StateValue } from "./state-reader.ts";
import { withArticle } from "./state-reader.ts";
import type { StateColumn } from "./state-tables.ts";

/**
 * What a value of a state document is in a bundle, as `row_to_json` would print it: JSON text, or
 * undefined where Go's zero value stands for none. `problem` says why it is no value of the column.
 */
export type Converted =
  | { readonly json: string | undefined; readonly cut?: boolean }
  | { readonly problem: string };

export function convertValue(column: StateColumn, value: StateValue): Converted {
  if (value.kind === "null") return { json: undefined };
  switch (column.type) {
    case "uuid":
      return ofText(value, uuid);
    case "timestamp with time zone":
      return ofText(value, timestamp);
    case "inet":
      return ofText(value, inet);
    case "integer":
      return integer(value, 2n ** 31n);
    case "bigint":
      return integer(value, 2n ** 63n);
    case "boolean":
      return value.kind === "boolean" ? { json: value.text } : wrongKind(value, "true or false");
    case "jsonb":
      return json(value);
    default:
      return ofText(value, (text) => plainText(text, column.type));
  }
}

function wrongKind(value: StateValue, wanted: string): Converted {
  return { problem: `is ${withArticle(value.kind)}, and not ${wanted}` };
}

function ofText(value: StateValue, convert: (text: string) => Converted): Converted {
  if (value.kind !== "string") return wrongKind(value, "text");
  return convert(value.text);
}

function plainText(text: string, type: string): Converted {
  if (text.includes("\0")) return { problem: "has a NUL character, which PostgreSQL cannot store" };
  const [, length] = /^character\((\d+)\)$/.exec(type) ?? [];
  if (length === undefined) return { json: JSON.stringify(text) };
  // An empty code is none; others are padded as the database pads them.
  return { json: text === "" ? undefined : JSON.stringify(text.padEnd(Number(length))) };
}

function uuid(text: string): Converted {
  if (text === "" || /^0{8}(-0{4}){3}-0{12}$/.test(text)) return { json: undefined };
  return /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
    ? { json: `"${text.toLowerCase()}"` }
    : { problem: "is no UUID" };
}

function integer(value: StateValue, limit: bigint): Converted {
  if (value.kind !== "number") return wrongKind(value, "a number");
  if (!/^-?\d{1,20}$/.test(value.text)) return { problem: "is no integer of the column's size" };
  const number = BigInt(value.text);
  return number >= -limit && number < limit
    ? { json: number.toString() }
    : { problem: "is no integer of the column's size" };
}

function inet(text: string): Converted {
  if (text === "") return { json: undefined };
  const [address = "", bits, ...more] = text.split("/");
  const version = address.includes("%") ? 0 : isIP(address);
  const most = version === 4 ? 32 : 128;
  const fits = bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= most);
  if (version === 0 || !fits || more.length > 0) return { problem: "is no network address" };
  // As the database prints it: without the mask of a single address.
  const mask = bits === undefined || Number(bits) === most ? "" : `/${Number(bits)}`;
  return { json: `"${address.toLowerCase()}${mask}"` };
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Go writes bytes in base64; JSON as it is, or its text, is taken as well. */
function json(value: StateValue): Converted {
  if (value.kind !== "string") return { json: JSON.stringify(value.text) };
  if (value.text === "") return { json: undefined };
  const decoded = base64.test(value.text) ? utf8(Buffer.from(value.text, "base64")) : undefined;
  const text = [decoded, value.text].find((found) => found !== undefined && isJson(found));
  return text === undefined
    ? { problem: "holds no JSON, in base64 or plain" }
    : { json: JSON.stringify(text) };
}

function utf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** RFC 3339 as PostgreSQL prints it in UTC; Go's zero time is none. */
export function timestamp(text: string): Converted {
  const problem = {
    problem: "is no time as RFC 3339 writes it, such as 2024-02-29T23:59:59.123456Z",
  };
  const match = rfc3339.exec(text);
  if (match === null) return problem;
  const [, year, month, day, hour, minute, second, fraction = "", sign, offHour, offMinute] = match;
  const number = (part: string | undefined) => Number(part ?? 0);
  if (number(hour) > 23 || number(minute) > 59 || number(second) > 59) return problem;
  if (number(offHour) > 23 || number(offMinute) > 59) return problem;
  const date = new Date(0);
  date.setUTCFullYear(number(year), number(month) - 1, number(day));
  date.setUTCHours(number(hour), number(minute), number(second));
  if (date.getUTCMonth() + 1 !== number(month) || date.getUTCDate() !== number(day)) return problem;
  const offset = (number(offHour) * 60 + number(offMinute)) * (sign === "-" ? 1 : -1);
  date.setTime(date.getTime() + offset * 60_000);
  const utcYear = date.getUTCFullYear();
  if (utcYear < 1 || utcYear > 9999) return problem;
  const digits = fraction.slice(0, 6).replace(/0+$/, "");
  const printed = `${date.toISOString().slice(0, 19)}${digits === "" ? "" : `.${digits}`}+00:00`;
  if (printed === "0001-01-01T00:00:00+00:00") return { json: undefined };
  return { json: `"${printed}"`, cut: /[1-9]/.test(fraction.slice(6)) };
}
