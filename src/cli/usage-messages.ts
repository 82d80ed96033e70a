/** What yargs says, in the voice of our own messages. */
export function usageMessage(message: string | undefined): string {
  const text = (message ?? "the command line cannot be understood").trim();
  for (const [pattern, replace] of rewritten) {
    const match = pattern.exec(text);
    if (match !== null) return replace(match);
  }
  return `${text.charAt(0).toLowerCase()}${text.slice(1)}`;
}

const rewritten: readonly (readonly [RegExp, (match: RegExpExecArray) => string])[] = [
  [/^Unknown arguments?: (.+)$/s, ([, names = ""]) => `unknown argument ${quoted(names)}`],
  [/^Unknown commands?: (.+)$/s, ([, names = ""]) => `unknown command ${quoted(names)}`],
  [/^Did you mean (.+)\?$/, ([, name]) => `there is no such command; did you mean "${name}"?`],
  [/^Not enough non-option arguments/, () => "an argument is missing after the command's name"],
  [/^Not enough arguments following: (.+)$/, ([, name = ""]) => `${option(name)} needs a value`],
  [
    /Argument: ([^,]+), Given: (.+?), Choices: (.+)/s,
    ([, name = "", given, choices]) =>
      `${option(name)} cannot be ${given}; it is one of ${choices?.trim()}`,
  ],
];

function quoted(names: string): string {
  return names
    .split(", ")
    .map((name) => `"${name}"`)
    .join(", ");
}

function option(name: string): string {
  return name.length === 1 ? `-${name}` : `--${name}`;
}
