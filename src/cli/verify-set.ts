import { AppError, ExitCode } from "../errors.ts";
import type { Context } from "./command.ts";
import { type KeyArguments, keysOf } from "./key-options.ts";
import { parseRowSize } from "./options.ts";
import { placesOf } from "./place-options.ts";

type Arguments = KeyArguments &
  Parameters<typeof placesOf>[0] & {
    readonly file: string;
    readonly storedOnly: boolean;
    readonly maxRowSize: string;
  };

/** Verifies a set of bundles by its manifest; one bad bundle does not hide another. */
export async function verifyNamedSet(args: Arguments, context: Context): Promise<ExitCode> {
  const { openStoreOf } = await import("../storage/store-of.ts");
  const { verifySet } = await import("../tenant/set/verify-set.ts");
  const { badBundleLine, incompleteText, setDocument, setText } = await import(
    "./render/verify-set.ts"
  );
  const { config, output, signal } = context;
  const started = performance.now();
  const maxRowBytes = parseRowSize(args.maxRowSize);
  const { storedOnly } = args;
  const keys = await keysOf(args, context);
  const progress = await context.progress("verifying", "bundles");
  const { store, key } = await openStoreOf(args.file, placesOf(args, config));
  try {
    const found = await verifySet(store, key, {
      keys,
      maxRowBytes,
      storedOnly,
      signal,
      onSet: ({ tenants }) => progress.start(tenants.length),
      onBundle: ({ slug, id }) => progress.advance(slug ?? id, 1),
    });
    progress.stop();
    const seconds = (performance.now() - started) / 1000;
    for (const note of found.notes) output.note(`note: ${note}`);
    const document = { ...setDocument(found, storedOnly), seconds };
    const { set, bad, name } = found;
    const incomplete = incompleteText(set);
    if (bad.length > 0 || incomplete !== undefined) {
      const share = `${bad.length} of ${set.tenants.length} bundles of the set "${name}" ${bad.length === 1 ? "is" : "are"} bad`;
      const message =
        bad.length === 0
          ? `the set "${name}" is ${incomplete}`
          : `${share}${incomplete === undefined ? "" : `; the set is ${incomplete}`}`;
      throw new AppError(
        bad.length > 0 ? "bad-set" : "incomplete-set",
        ExitCode.invalidInput,
        message,
        {
          hint:
            bad.length > 0
              ? "Take other copies of these bundles; or export their tenants again while they are there."
              : "The same export with --resume goes on with it, within 24 hours of its beginning.",
          details: bad.map(badBundleLine),
          data: document,
        },
      );
    }
    output.text(setText(found, storedOnly, seconds));
    output.result(document);
    return ExitCode.done;
  } finally {
    await store.close();
  }
}
