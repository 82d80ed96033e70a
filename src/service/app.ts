import { setTimeout as sleep } from "node:timers/promises";
import { type Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { getCookie, setCookie } from "hono/cookie";
import { HTTPException } from "hono/http-exception";
import {
  cookieName,
  isBearer,
  isSession,
  namesLoopback,
  sameToken,
  sessionFor,
  sessionSeconds,
} from "./access.ts";
import { metricsText, metricsType } from "./metrics.ts";
import { contentPolicy } from "./page/assets.ts";
import { loginPage } from "./page/login.ts";
import { statusPage } from "./page/page.ts";
import type { StatusReader } from "./status-reader.ts";

export interface AppOptions {
  readonly token: string | undefined;
  /** Refuses names other than this machine's own, where no token stands in the way. */
  readonly checkHost: boolean;
  readonly status: StatusReader;
  readonly ready: () => Promise<boolean>;
  readonly warn: (text: string) => void;
}

/** Slows down whoever tries tokens; nobody else has to wait for it. */
const wrongTokenMs = 500;

const headers: Readonly<Record<string, string>> = {
  "Content-Security-Policy": contentPolicy,
  "X-Frame-Options": "DENY",
  "X-Content-Type-Options": "nosniff",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
  "Cache-Control": "no-store",
};

/** What is served, without a server. */
export function statusApp(options: AppOptions): Hono {
  const { token, checkHost, status, ready, warn } = options;
  const app = new Hono();
  app.use(async (context, next) => {
    await next();
    for (const [name, value] of Object.entries(headers)) context.header(name, value);
  });
  app.onError((error, context) => {
    // Of what was asked, such as a body that is too long.
    if (error instanceof HTTPException) return context.text("refused\n", error.status);
    warn(`${context.req.method} ${context.req.path} has failed: ${error.message}`);
    for (const [name, value] of Object.entries(headers)) context.header(name, value);
    return context.text("internal error; the log of the service says more\n", 500);
  });

  // Without token and name: whoever asks for these is told nothing else.
  app.get("/healthz", (context) => context.text("ok\n"));
  app.get("/readyz", async (context) =>
    (await ready()) ? context.text("ready\n") : context.text("not ready\n", 503),
  );

  if (checkHost) {
    app.use(async (context, next) => {
      if (namesLoopback(context.req.header("host"))) return await next();
      return context.text("this name is not served here; use localhost or 127.0.0.1\n", 403);
    });
  }
  if (token !== undefined) protect(app, token);

  app.get("/", async (context) => context.html(await statusPage(await status.read())));
  app.get("/api/status", async (context) => context.json(await status.read()));
  app.get("/metrics", async (context) =>
    context.body(await metricsText(await status.read()), 200, { "Content-Type": metricsType }),
  );
  app.all("*", (context) => {
    const known = ["/", "/api/status", "/metrics", "/healthz", "/readyz"].includes(
      context.req.path,
    );
    return known
      ? context.text("this can only be read\n", 405, { Allow: "GET, HEAD" })
      : context.text("there is nothing here\n", 404);
  });
  return app;
}

/** Asks for the token: programs give it with each request, browsers once, for a cookie. */
function protect(app: Hono, token: string): void {
  app.get("/login", async (context) =>
    isAllowed(context, token) ? context.redirect("/", 303) : context.html(await loginPage()),
  );
  app.post("/login", bodyLimit({ maxSize: 4096 }), async (context) => {
    const { token: given } = await context.req.parseBody();
    if (typeof given !== "string" || !sameToken(given.trim(), token)) {
      await sleep(wrongTokenMs);
      return context.html(await loginPage("This is not the token."), 401);
    }
    setCookie(context, cookieName, sessionFor(token, new Date()), {
      httpOnly: true,
      // A link in a chat shall lead here; nothing can be changed by following one.
      sameSite: "Lax",
      path: "/",
      maxAge: sessionSeconds,
      // Behind a proxy that ends TLS, the cookie shall not travel without it.
      secure: context.req.header("x-forwarded-proto") === "https",
    });
    return context.redirect("/", 303);
  });
  app.use(async (context, next) => {
    if (isAllowed(context, token)) return await next();
    if (context.req.header("authorization") !== undefined) await sleep(wrongTokenMs);
    const reads = context.req.method === "GET" && context.req.path === "/";
    if (reads && context.req.header("accept")?.includes("text/html") === true) {
      return context.redirect("/login", 303);
    }
    return context.text("a token is needed\n", 401, {
      "WWW-Authenticate": 'Bearer realm="pgtenant"',
    });
  });
}

function isAllowed(context: Context, token: string): boolean {
  return (
    isBearer(context.req.header("authorization"), token) ||
    isSession(getCookie(context, cookieName), token, new Date())
  );
}
