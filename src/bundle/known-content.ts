/** How the formats begin that a layer may hold or be. */
export const magic = {
  zstd: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
  gzip: Buffer.from([0x1f, 0x8b]),
  age: Buffer.from("age-encryption.org/"),
  armoredAge: Buffer.from("-----BEGIN AGE ENCRYPTED FILE-----"),
  opensslEnc: Buffer.from("Salted__"),
  customDump: Buffer.from("PGDMP"),
  plainDump: Buffer.from("--\n-- PostgreSQL database"),
} as const;

export const longestMagic = Math.max(...Object.values(magic).map((bytes) => bytes.length));

export function startsWith(head: Buffer, prefix: Buffer): boolean {
  return head.length >= prefix.length && head.subarray(0, prefix.length).equals(prefix);
}

/** Known by the first block of a cipher already, should a later one be damaged. */
const certain = [
  magic.zstd,
  magic.customDump,
  Buffer.from("--\n-- PostgreSQL"),
  Buffer.from('{"$bundle"'),
];
const ustar = Buffer.from("ustar");
const ustarAt = 257;
const textBytes = 64;

/**
 * True for what backups and bundles begin with: compressed data, a dump, a tar archive, or text
 * such as SQL. Random bytes are taken for one of them in less than one of ten million cases.
 */
export function isKnownContent(head: Buffer): boolean {
  if (startsWith(head, magic.gzip)) {
    // Deflate is the only method, and three of the flags are reserved.
    return head[2] === 8 && ((head[3] ?? 0xff) & 0xe0) === 0;
  }
  return (
    certain.some((beginning) => startsWith(head, beginning)) ||
    startsWith(head.subarray(ustarAt), ustar) ||
    isText(head.subarray(0, textBytes))
  );
}

function isText(bytes: Buffer): boolean {
  try {
    // A character may be cut in two at the end of what is looked at.
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return !/[^\P{Cc}\t\n\r\f]/u.test(text);
  } catch {
    return false;
  }
}
