import { html } from "hono/html";
import { layout } from "./layout.ts";

/** Where a browser gives the token, once in a while. */
export async function loginPage(problem?: string): Promise<string> {
  const said =
    problem === undefined
      ? ""
      : html`<p id="problem" role="alert"><span class="tag late">${problem}</span></p>`;
  const described =
    problem === undefined ? "" : html` aria-describedby="problem" aria-invalid="true"`;
  return await layout({
    title: "pgtenant: token",
    body: html`<header><span><strong>pgtenant</strong></span></header>
<main>
<section>
<h1>Status of the backups</h1>
<p class="muted">The token is the value of <code>PGTENANT_HTTP_TOKEN</code>, and is asked for every 12 hours.</p>
${said}
<form method="post" action="/login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required${described}>
<button>Show the status</button>
</form>
</section>
</main>`,
  });
}
