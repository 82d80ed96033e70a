import type { Config } from "../config/config.ts";
import { databaseOfUrl } from "../postgres/maintenance-url.ts";
import type { Store } from "../storage/store.ts";
import { type HttpServer, startHttp } from "./http.ts";
import { readinessOf } from "./readiness.ts";
import type { ScheduleView } from "./schedule-view.ts";
import { openStatusReader, type StatusReader } from "./status-reader.ts";

export interface StatusPlaces {
  /** BACKUP_DIR, or what a flag says instead. */
  readonly folder: string;
  readonly stores: readonly Store[];
  /** How the scheduler of this process stands; without it the page says that there is none. */
  readonly schedule?: (() => ScheduleView | undefined) | undefined;
  readonly patienceMs?: number | undefined;
}

export function statusReaderOf(config: Readonly<Config>, places: StatusPlaces): StatusReader {
  const { timezone, rpoHours, rtoHours } = config.service;
  return openStatusReader({
    ...places,
    database: databaseOfUrl(config.databaseUrl),
    timezone,
    rpoHours,
    rtoHours,
    secrets: config.secrets,
  });
}

/**
 * Serves page and metrics at the configuration's address; undefined where that is `off`.
 *
 * @throws {AppError} exit 2 for an address that others can reach without a token, and for one that
 *   cannot be listened on
 */
export async function serveStatus(
  config: Readonly<Config>,
  places: StatusPlaces,
  warn: (text: string) => void,
): Promise<HttpServer | undefined> {
  const { http, httpToken } = config.service;
  if (http === undefined) return undefined;
  return await startHttp({
    ...http,
    token: httpToken,
    status: statusReaderOf(config, places),
    ready: readinessOf(config, places.folder),
    warn,
  });
}
