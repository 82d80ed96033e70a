import { html, raw } from "hono/html";
import { script, styles } from "./assets.ts";

/** A piece of a page; what is put into it is escaped. */
export type Html = ReturnType<typeof html>;

export interface Layout {
  readonly title: string;
  readonly body: Html;
  /** After how many seconds to look again, in a browser with JavaScript; never without. */
  readonly refreshSeconds?: number | undefined;
}

export async function layout({ title, body, refreshSeconds }: Layout): Promise<string> {
  // Without spaces around them: the policy knows the texts by their hashes.
  const scripted = refreshSeconds === undefined ? "" : html`<script>${raw(script)}</script>`;
  const page = await html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>${raw(styles)}</style>
</head>
<body data-refresh="${refreshSeconds ?? 0}">
${body}
${scripted}
</body>
</html>
`;
  return page.toString();
}
