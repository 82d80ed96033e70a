import { setTimeout as sleep } from "node:timers/promises";
import { type Catalogue, readCatalogue } from "../backup/catalogue.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Store } from "../storage/store.ts";

/** What is known of a place, and how well. */
export interface PlaceReading {
  readonly store: Store;
  readonly state: "read" | "stale" | "unreachable" | "waiting";
  /** The latest that could be read; undefined when nothing could yet. */
  readonly catalogue: Catalogue | undefined;
  readonly readAt: Date | undefined;
  readonly error: AppError | undefined;
}

export interface PlaceOptions {
  /** Whose backups are ours. */
  readonly database: string;
  /** For how long a listing is taken for the present, in milliseconds. */
  readonly freshMs: number;
  /** How long the caller waits for the place to answer, in milliseconds. */
  readonly patienceMs: number;
}

/**
 * Reads a place without ever keeping a page waiting: who is too slow is read on in the background,
 * once at a time, and what was read before is shown meanwhile.
 */
export class PlaceReader {
  readonly #store: Store;
  readonly #options: PlaceOptions;
  #latest:
    | { readonly catalogue: Catalogue; readonly at: Date; readonly version: string }
    | undefined;
  #error: AppError | undefined;
  #running: Promise<void> | undefined;

  constructor(store: Store, options: PlaceOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** @param version when it has changed, something was written since */
  async read(now: Date, version: string): Promise<PlaceReading> {
    const { freshMs, patienceMs } = this.#options;
    const fresh =
      this.#latest !== undefined &&
      this.#latest.version === version &&
      +now - +this.#latest.at < freshMs;
    if (!fresh || this.#error !== undefined) {
      this.#running ??= this.#refresh(now, version).finally(() => {
        this.#running = undefined;
      });
      const stop = new AbortController();
      await Promise.race([
        this.#running,
        sleep(patienceMs, undefined, { ref: false, signal: stop.signal }).catch(() => undefined),
      ]);
      stop.abort();
    }
    return {
      store: this.#store,
      state: this.#state(),
      catalogue: this.#latest?.catalogue,
      readAt: this.#latest?.at,
      error: this.#error,
    };
  }

  #state(): PlaceReading["state"] {
    if (this.#error !== undefined) return "unreachable";
    if (this.#latest === undefined) return "waiting";
    return this.#running === undefined ? "read" : "stale";
  }

  async #refresh(now: Date, version: string): Promise<void> {
    try {
      const { database } = this.#options;
      const catalogue = await readCatalogue(this.#store, { database, now });
      this.#latest = { catalogue, at: now, version };
      this.#error = undefined;
    } catch (error) {
      // Nobody may be waiting any more, so that throwing it would end the service.
      this.#error =
        error instanceof AppError
          ? error
          : new AppError("internal", ExitCode.internal, "an internal error occurred", {
              cause: error,
            });
    }
  }
}
