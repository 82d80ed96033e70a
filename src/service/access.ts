import { createHash, createHmac, timingSafeEqual } from "node:crypto";

/** 127.0.0.0/8 and ::1, in every way to write them, and their name. */
export function isLoopback(host: string): boolean {
  return /^(localhost|127(\.\d{1,3}){3}|::1|(0+:){7}0*1|::ffff:127(\.\d{1,3}){3})$/i.test(host);
}

/**
 * Whether a Host header names this machine itself. A page that a browser has open elsewhere can
 * have its own name point to 127.0.0.1, and would read what is served there.
 */
export function namesLoopback(header: string | undefined): boolean {
  const [, name = ""] = /^(\[[^\]]*\]|[^:]*)(?::\d+)?$/.exec(header ?? "") ?? [];
  return isLoopback(name.replace(/^\[(.*)\]$/, "$1"));
}

export const cookieName = "pgtenant_session";
export const sessionSeconds = 12 * 3600;

/** Compares in a time that tells nothing of where they differ, or of how long the token is. */
export function sameToken(given: string, token: string): boolean {
  return timingSafeEqual(digestOf(given), digestOf(token));
}

/** What a browser that has given the token shows from then on: never the token itself. */
export function sessionFor(token: string, now: Date): string {
  const until = Math.floor(+now / 1000) + sessionSeconds;
  return `${until}.${signatureOf(until, token)}`;
}

export function isSession(cookie: string | undefined, token: string, now: Date): boolean {
  const [, until = "", signature = ""] = /^(\d{1,12})\.([\w-]+)$/.exec(cookie ?? "") ?? [];
  if (until === "" || Number(until) * 1000 < +now) return false;
  return sameToken(signature, signatureOf(Number(until), token));
}

/** @param header `Authorization: Bearer …` */
export function isBearer(header: string | undefined, token: string): boolean {
  const [, given] = /^Bearer +(.+)$/i.exec(header ?? "") ?? [];
  return given !== undefined && sameToken(given, token);
}

function signatureOf(until: number, token: string): string {
  return createHmac("sha256", token).update(`pgtenant session until ${until}`).digest("base64url");
}

function digestOf(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
