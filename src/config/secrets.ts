/** Shorter ones are masked only where they stand as a word of their own. */
const distinctive = 6;

/** Everything that must not be printed of a database URL: its password, in each written form. */
export function secretsOfUrl(databaseUrl: string): readonly string[] {
  // Nobody can tell where the password stands in what is no URL.
  if (!URL.canParse(databaseUrl)) return databaseUrl === "" ? [] : [databaseUrl];
  const url = new URL(databaseUrl);
  const written = url.password || (url.searchParams.get("password") ?? "");
  if (written === "") return [];
  const plain = decoded(written);
  // A password that is also the user, the host or the database tells nothing by itself, and
  // masking it would garble every message that names them.
  const publicWords = [url.username, url.hostname, url.pathname.slice(1)].map(decoded);
  return publicWords.includes(plain) ? [] : writtenForms(plain, written);
}

/** True for a URL with a password, however well known. */
export function holdsPassword(databaseUrl: string): boolean {
  if (!URL.canParse(databaseUrl)) return false;
  const url = new URL(databaseUrl);
  return url.password !== "" || (url.searchParams.get("password") ?? "") !== "";
}

/** A secret as it is, in a URL, and inside a JSON string. */
export function writtenForms(secret: string, ...others: readonly string[]): readonly string[] {
  const forms = [
    secret,
    ...others,
    encodeURIComponent(secret),
    encodeURI(secret),
    JSON.stringify(secret).slice(1, -1),
  ];
  return [...new Set(forms)].filter((form) => form !== "").sort((a, b) => b.length - a.length);
}

/** Commands whose `-k` is a number of days. */
const daysByK = new Set(["backup", "prune"]);

/** The values of `-k` and `--key`, before a command line is parsed and its errors are shown. */
export function keysOnCommandLine(argv: readonly string[]): readonly string[] {
  const command = argv.find((word) => !word.startsWith("-"));
  if (command !== undefined && daysByK.has(command)) return [];
  return argv.flatMap((word, index) => {
    // The letters before it are those options that take no value.
    const [, long, short] = /^(?:--k(?:ey)?(?:=(.*))?|-[fhv]*k=?(.*))$/s.exec(word) ?? [];
    if (long === undefined && short === undefined && !/^--k(ey)?$/.test(word)) return [];
    const value = (long ?? short) || argv[index + 1];
    return value === undefined || value === "" ? [] : [value];
  });
}

/**
 * Replaces secrets, and the password of anything that looks like a URL, by `***`; but not the
 * word "password" of our own examples.
 */
export function maskSecrets(text: string, secrets: readonly string[]): string {
  let masked = text;
  for (const secret of secrets) {
    masked =
      secret.length >= distinctive
        ? masked.replaceAll(secret, "***")
        : masked.replace(
            new RegExp(`(?<![A-Za-z0-9])${escaped(secret)}(?![A-Za-z0-9])`, "g"),
            "***",
          );
  }
  // Last, or half of a password with an @ in it would be left where it is not written as %40.
  return masked.replace(/(\b\w+:\/\/[^\s:/@"']*:)(?!password@)[^\s@"']*(?=@)/g, "$1***");
}

/** A copy of a value with each text in it changed, however deep; names of members stay. */
export function mapTexts<T>(value: T, change: (text: string) => string): T {
  if (typeof value === "string") return change(value) as T;
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, change)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name, mapTexts(member, change)]),
  ) as T;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
}
