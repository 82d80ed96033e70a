import { maskSecrets } from "../config/secrets.ts";

/** Control characters could move the cursor or recolour the terminal; names may hold them. */
const controlCharacters = /[^\P{Cc}\n\t]|[\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Where text and results go. What people read goes to the standard output, unless `--json` or
 * the bundle itself is there: then to stderr. Secrets are masked in all of it.
 */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  #secrets: readonly string[] = [];
  #bundleOnStdout = false;
  #closed = false;

  constructor(json: boolean, quiet: boolean) {
    this.json = json;
    this.quiet = quiet;
    // A reader such as `head` may leave early. The work goes on; main tells by the exit code.
    process.stdout.on("error", () => {
      this.#closed = true;
    });
    process.stderr.on("error", () => undefined);
  }

  /** True when the standard output could not be written to. */
  get closed(): boolean {
    return this.#closed;
  }

  /** From now on these strings are masked in everything that is printed. */
  hide(secrets: readonly string[]): void {
    this.#secrets = [...this.#secrets, ...secrets].sort((a, b) => b.length - a.length);
  }

  leaveStdoutToBundle(): void {
    this.#bundleOnStdout = true;
  }

  /** The result, for people. */
  text(text: string): void {
    const stream = this.json || this.#bundleOnStdout ? process.stderr : process.stdout;
    this.#write(stream, `${text}\n`);
  }

  /** What helps but is no result, such as the next command to type; `--quiet` leaves it out. */
  hint(text: string): void {
    if (!this.quiet) this.text(text);
  }

  /** How it goes; `--quiet` leaves it out. */
  note(text: string): void {
    if (!this.quiet) this.#write(process.stderr, `${text}\n`);
  }

  warn(text: string): void {
    this.#write(process.stderr, `warning: ${text}\n`);
  }

  error(text: string): void {
    this.#write(process.stderr, `${text}\n`);
  }

  /** The result, for programs: one line, only with `--json`. */
  result(value: unknown): void {
    if (!this.json) return;
    const stream = this.#bundleOnStdout ? process.stderr : process.stdout;
    if (!this.#closed || stream === process.stderr) {
      stream.write(`${maskSecrets(JSON.stringify(value), this.#secrets)}\n`);
    }
  }

  /** The same for a result that is larger than memory, as pieces of its JSON text. */
  async resultStream(pieces: AsyncIterable<string>): Promise<void> {
    if (!this.json) return;
    await this.#stream(process.stdout, pieces, (text) => text);
    if (!this.#closed) process.stdout.write("\n");
  }

  /** Text for people that is larger than memory, as pieces of whole lines. */
  async textStream(pieces: AsyncIterable<string>): Promise<void> {
    const stream = this.json || this.#bundleOnStdout ? process.stderr : process.stdout;
    await this.#stream(stream, pieces, visible);
  }

  /** Waits until everything has been handed to the system. */
  async end(): Promise<void> {
    for (const stream of [process.stdout, process.stderr]) {
      if (stream.writableLength === 0 || stream.destroyed) continue;
      await new Promise<void>((resolve) => {
        stream.once("close", resolve).once("error", () => resolve());
        stream.write("", () => resolve());
      });
    }
    // An error of the last write arrives after it.
    await new Promise((resolve) => setImmediate(resolve));
  }

  #write(stream: NodeJS.WriteStream, text: string): void {
    if (stream === process.stdout && this.#closed) return;
    stream.write(visible(maskSecrets(text, this.#secrets)));
  }

  async #stream(
    stream: NodeJS.WriteStream,
    pieces: AsyncIterable<string>,
    adapt: (text: string) => string,
  ): Promise<void> {
    const closed = () => stream === process.stdout && this.#closed;
    // So much stays behind each time that a secret which is cut in two is seen whole.
    const held = Math.max(0, ...this.#secrets.map((secret) => secret.length));
    let text = "";
    for await (const piece of pieces) {
      text = maskSecrets(text + piece, this.#secrets);
      const ready = text.slice(0, Math.max(0, text.length - held));
      text = text.slice(ready.length);
      if (closed()) return;
      if (ready !== "" && !stream.write(adapt(ready))) await drained(stream);
    }
    if (!closed()) stream.write(adapt(text));
  }
}

function visible(text: string): string {
  return text.replace(controlCharacters, "\ufffd");
}

/** Until there is room again, or nobody reads any more. */
async function drained(stream: NodeJS.WriteStream): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      for (const event of ["drain", "close", "error"]) stream.off(event, done);
      resolve();
    };
    for (const event of ["drain", "close", "error"]) stream.on(event, done);
  });
}
