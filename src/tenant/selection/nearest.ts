import { distance } from "fastest-levenshtein";

/** Those of `names` that are a few letters off `word`, or begin alike; the closest first. */
export function nearest(word: string, names: Iterable<string>): readonly string[] {
  const wanted = word.toLowerCase();
  const allowed = Math.max(2, Math.floor(wanted.length / 3));
  return [...new Set(names)]
    .map((name) => {
      const lower = name.toLowerCase();
      const alike = wanted.length >= 3 && lower.startsWith(wanted);
      return { name, off: alike ? 1 : distance(wanted, lower) };
    })
    .filter(({ off }) => off <= allowed)
    .sort((a, b) => a.off - b.off || (a.name < b.name ? -1 : 1))
    .slice(0, 3)
    .map(({ name }) => name);
}

/** `Did you mean "sites" or "sizes"? ` in front of what is said anyway. */
export function didYouMean(near: readonly string[]): string {
  return near.length === 0 ? "" : `Did you mean ${near.map((name) => `"${name}"`).join(" or ")}? `;
}
