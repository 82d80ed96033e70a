import { sql } from "kysely";
import type { Session } from "./session.ts";

/**
 * For a session that holds a lock: when its machine has died the server notices within a minute, and
 * not after the two hours that are usual. On a Unix socket the server needs no such look.
 */
export async function setKeepalives({ db }: Session): Promise<void> {
  await sql`SELECT set_config('tcp_keepalives_idle', '30', false),
                   set_config('tcp_keepalives_interval', '10', false),
                   set_config('tcp_keepalives_count', '3', false)`.execute(db);
}
