import { pgtenant } from "./command.ts";

const helps = new Map<string, Promise<string>>();

/** A command of ours in running text or in a list of arguments: `pgtenant verify latest -v`. */
export function commandsIn(text: string): readonly string[] {
  const found = [...text.matchAll(/`(pgtenant [^`]+)`/g)].map(([, line = ""]) => line);
  return [...new Set(found.map((line) => line.replace(/\s+/g, " ")))];
}

/**
 * What the program's own help does not know of a command: its name, or one of its options.
 * Undefined for one that it knows.
 */
export async function unknownIn(command: string): Promise<string | undefined> {
  const words = command.match(/"[^"]*"|'[^']*'|\S+/g) ?? [];
  const [, name = "", ...rest] = words;
  if (!/^[a-z][a-z-]*$/.test(name)) return `no command follows in "${command}"`;
  let help = helps.get(name);
  if (help === undefined) {
    help = pgtenant([name, "--help"]).then(({ stdout }) => String(stdout));
    helps.set(name, help);
  }
  const text = await help;
  // The help of a command that there is not is that of the program.
  if (!text.startsWith(`pgtenant ${name}`)) return `"${command}": there is no command ${name}`;
  const option = rest
    .filter((word) => /^-{1,2}[a-z]/i.test(word))
    .map((word) => word.replace(/=.*$/s, ""))
    .find((word) => !new RegExp(`(?<![\\w-])${word}(?![\\w-])`).test(optionsOf(text)));
  return option === undefined ? undefined : `"${command}": ${name} has no option ${option}`;
}

function optionsOf(help: string): string {
  return help.slice(help.indexOf("Options:"), help.indexOf("Examples:"));
}
