import pino from "pino";
import { maskSecrets } from "../config/secrets.ts";
import type { ScheduleLog } from "./slot-run.ts";

/**
 * The service's log: a line of JSON an event, on stderr, with `time`, `level` and `event`. Secrets
 * are masked in the whole line, whatever field they have got into.
 */
export function scheduleLog(
  secrets: readonly string[],
  write: (line: string) => void = (line) => process.stderr.write(line),
): ScheduleLog {
  const logger = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      messageKey: "event",
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => write(maskSecrets(line, secrets)) },
  );
  return (level, event, fields) => logger[level](fields, event);
}
