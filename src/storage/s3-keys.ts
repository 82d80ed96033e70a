/** A key of a listing; XML has no way to write every character that one may hold. */
export function decodedKey(key: string, encoding: string | undefined): string {
  return encoding === "url" ? decodeURIComponent(key.replaceAll("+", " ")) : key;
}
