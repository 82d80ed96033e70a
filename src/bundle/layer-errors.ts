import { AppError, ExitCode } from "../errors.ts";

export function corruptEncryption(
  name: string,
  what: string,
  hint: string,
  cause?: unknown,
): AppError {
  return new AppError("corrupt-encryption", ExitCode.invalidInput, `${name} ${what}`, {
    hint,
    cause,
  });
}

export function cutShort(name: string, received: number, hint: string): AppError {
  return corruptEncryption(
    name,
    `is cut short: its encrypted data ends early, after ${received} bytes`,
    hint,
  );
}
