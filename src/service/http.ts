import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { AppError, ExitCode } from "../errors.ts";
import { isLoopback } from "./access.ts";
import { statusApp } from "./app.ts";
import type { StatusReader } from "./status-reader.ts";

export interface HttpOptions {
  readonly host: string;
  /** 0 for one that is free. */
  readonly port: number;
  /** Asked for everywhere once it is set; needed where others can reach the address. */
  readonly token: string | undefined;
  readonly status: StatusReader;
  /** Whether a backup could begin. */
  readonly ready: () => Promise<boolean>;
  /** Hears of defects; whoever asked is told nothing of them. */
  readonly warn: (text: string) => void;
}

export interface HttpServer {
  readonly url: string;
  /** Answers what is being asked, for a moment, and takes nothing new. */
  close(): Promise<void>;
}

const patienceMs = 2_000;

/**
 * Serves the status page, the metrics and the health of this process. Nothing that is asked for
 * here changes any data.
 *
 * @throws {AppError} exit 2 for an address that others can reach without a token, and for one that
 *   cannot be listened on
 */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { host, port, token } = options;
  const shown = host.includes(":") ? `[${host}]` : host;
  if (token === undefined && !isLoopback(host)) {
    throw new AppError(
      "token-required",
      ExitCode.usage,
      `others can reach the address "${shown}:${port}", and no token is set`,
      {
        hint: "Set PGTENANT_HTTP_TOKEN or PGTENANT_HTTP_TOKEN_FILE to at least 16 random characters (openssl rand -hex 32), or listen on 127.0.0.1.",
      },
    );
  }
  const server = createAdaptorServer({
    fetch: statusApp({ ...options, checkHost: token === undefined }).fetch,
    serverOptions: { requestTimeout: 30_000, headersTimeout: 10_000 },
  });
  try {
    server.listen({ host, port });
    await once(server, "listening");
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const why = code === "EADDRINUSE" ? "it is in use" : message;
    throw new AppError(
      "cannot-listen",
      ExitCode.usage,
      `the address "${shown}:${port}" cannot be listened on: ${why}`,
      { hint: "Give another one with PGTENANT_HTTP_LISTEN, or off.", cause },
    );
  }
  const { port: taken } = server.address() as AddressInfo;
  return {
    url: `http://${shown}:${taken}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      if ("closeIdleConnections" in server) server.closeIdleConnections();
      const cut = setTimeout(() => {
        if ("closeAllConnections" in server) server.closeAllConnections();
      }, patienceMs);
      await closed;
      clearTimeout(cut);
    },
  };
}
