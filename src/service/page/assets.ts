import { createHash } from "node:crypto";

/** Colours keep 4.5 : 1 against what they stand on, in both schemes; the proof runs axe over them. */
export const styles = `
:root{color-scheme:light dark;--bg:#f6f6f4;--card:#fff;--text:#1b1c1f;--muted:#565c66;--line:#dcdcd8;
--good:#176b40;--good-bg:#e6f3eb;--bad:#a8201a;--bad-bg:#fbe9e7;--warn:#7a4f00;--warn-bg:#fbf1dc;
--accent:#2b5ca8;--bar:#6f94cf;--focus:#1a4fb0}
@media (prefers-color-scheme:dark){:root{--bg:#131519;--card:#1b1e23;--text:#e9eaec;--muted:#a7aeb9;
--line:#343941;--good:#6ddc9f;--good-bg:#16301f;--bad:#ff9c93;--bad-bg:#3a1a18;--warn:#f2c16b;
--warn-bg:#33270f;--accent:#93b9ff;--bar:#5d84c4;--focus:#a9c7ff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:66rem;margin:0 auto;padding:0 1.25rem}
header{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;align-items:baseline;padding-top:1.25rem;color:var(--muted);font-size:.9rem}
header strong{color:var(--text)}
header .as-of{margin-left:auto}
h1{font-size:clamp(1.45rem,1.1rem + 1.8vw,2.1rem);line-height:1.25;margin:0;font-weight:650;letter-spacing:-.01em;text-wrap:balance}
h2{font-size:1.1rem;margin:0 0 .75rem;font-weight:650}
p{margin:.35rem 0}
a{color:var(--accent)}
:focus-visible{outline:3px solid var(--focus);outline-offset:2px;border-radius:3px}
.skip{position:absolute;left:-999rem;top:.5rem;background:var(--card);padding:.5rem .75rem}
.skip:focus{left:.5rem}
code{font:.92em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.hidden{position:absolute;width:1px;height:1px;margin:-1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1.15rem 1.25rem;margin:1rem 0}
.hero{border-left-width:8px}
.hero.kept{border-left-color:var(--good)}
.hero.broken{border-left-color:var(--bad)}
.hero.attention,.hero.unproven,.hero.unknown,.hero.empty{border-left-color:var(--warn)}
.hero .top{display:flex;gap:.8rem;align-items:flex-start}
.mark{flex:none;display:inline-flex;align-items:center;justify-content:center;width:2.2rem;height:2.2rem;border-radius:50%;font-weight:700;font-size:1.2rem;margin-top:.12em}
.kept .mark{background:var(--good-bg);color:var(--good)}
.broken .mark{background:var(--bad-bg);color:var(--bad)}
.attention .mark,.unproven .mark,.unknown .mark,.empty .mark{background:var(--warn-bg);color:var(--warn)}
.hero ul{margin:.75rem 0 0;padding-left:1.2rem}
.next{margin-top:.75rem}
.checks{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem;margin:1rem 0;padding:0;list-style:none}
.checks li{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.25rem}
.checks h2{font-size:.95rem;color:var(--muted);font-weight:600;margin:0;display:flex;justify-content:space-between;align-items:flex-start;gap:.5rem}
.checks .value{font-size:1.55rem;font-weight:650;line-height:1.3;font-variant-numeric:tabular-nums}
.checks p{margin:.15rem 0;color:var(--muted);font-size:.92rem}
.tag{display:inline-block;border-radius:999px;padding:.05rem .6rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.tag.ok{background:var(--good-bg);color:var(--good)}
.tag.late{background:var(--bad-bg);color:var(--bad)}
.tag.unknown{background:var(--warn-bg);color:var(--warn)}
.muted{color:var(--muted)}
.small{font-size:.9rem}
progress{width:100%;height:.8rem;accent-color:var(--accent)}
.two{display:grid;grid-template-columns:minmax(0,3fr) minmax(0,2fr);gap:1rem}
.two section{margin:0}
figure{margin:0 0 1.1rem}
figcaption{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 1rem;font-size:.9rem;margin-bottom:.3rem}
figcaption b{font-weight:600}
svg{display:block;width:100%;height:6.5rem;border-bottom:1px solid var(--line);background:linear-gradient(var(--line),var(--line)) top/100% 1px no-repeat}
svg .bar{fill:var(--bar)}
svg .newest .bar{fill:var(--accent)}
svg .hit{fill:transparent}
svg g:hover .bar{fill:var(--text)}
.axis{display:flex;justify-content:space-between;font-size:.82rem;color:var(--muted);font-variant-numeric:tabular-nums}
table{width:100%;border-collapse:collapse;font-size:.93rem}
caption{text-align:left;color:var(--muted);font-size:.9rem;padding-bottom:.5rem}
th{text-align:left;font-weight:600;color:var(--muted);font-size:.85rem}
th,td{padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child>*{border-bottom:0}
table.facts th{white-space:nowrap;width:1%}
tbody th{color:var(--text);font-size:.93rem}
tbody th .muted{font-weight:400}
.id{white-space:nowrap}
td.num,th.num{text-align:right;padding-right:1.25rem;font-variant-numeric:tabular-nums;white-space:nowrap}
.calendar{table-layout:fixed}
.calendar th{text-align:center;padding:.15rem;border:0}
.calendar td{padding:2px;border:0;text-align:center}
.day{display:block;border-radius:6px;padding:.15rem 0 .25rem;border:1px solid var(--line);line-height:1.2;font-size:.85rem;font-variant-numeric:tabular-nums}
.day b{display:block;font-size:1rem}
.day.good{background:var(--good-bg);color:var(--good);border-color:var(--good)}
.day.failed{background:var(--bad-bg);color:var(--bad);border:2px solid var(--bad)}
.day.none{background:var(--warn-bg);color:var(--warn);border:2px dashed var(--warn)}
.day.before,.day.today{color:var(--muted)}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.6rem 0 0;padding:0;list-style:none;font-size:.85rem;color:var(--muted)}
.list{list-style:none;margin:0;padding:0}
.list>li{padding:.65rem 0;border-bottom:1px solid var(--line)}
.list>li:last-child{border-bottom:0;padding-bottom:0}
.list>li:first-child{padding-top:0}
details{margin-top:.75rem}
summary{cursor:pointer;color:var(--accent);padding:.25rem 0}
footer{color:var(--muted);font-size:.9rem;padding-bottom:2rem;padding-top:.25rem}
footer a{margin-right:1rem}
form{display:grid;gap:.6rem;max-width:26rem}
input,button{font:inherit;padding:.55rem .7rem;border-radius:6px;border:1px solid var(--muted);background:var(--bg);color:var(--text)}
button{background:var(--accent);color:var(--card);border-color:var(--accent);font-weight:600;cursor:pointer}
@media (max-width:46rem){
header .as-of{margin-left:0}
header,main,footer{padding-left:.9rem;padding-right:.9rem}
.two{grid-template-columns:minmax(0,1fr)}
section{padding:1rem}
.stacked,.stacked tbody,.stacked tr,.stacked td,.stacked th,.stacked caption{display:block}
.stacked thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.stacked tr{padding:.6rem 0;border-bottom:1px solid var(--line)}
.stacked tr:last-child{border-bottom:0}
.stacked td,.stacked tbody th{border:0;padding:.1rem 0}
.stacked td{display:grid;grid-template-columns:6.5rem minmax(0,1fr);gap:.5rem;text-align:left;white-space:normal}
.stacked td::before{content:attr(data-label);color:var(--muted);font-size:.88rem}
}
@media (max-width:46rem){.hero .top{gap:.6rem}.mark{width:1.9rem;height:1.9rem;font-size:1.05rem}}
@media print{section,.checks li{break-inside:avoid}}
`;

/** Looks again while nobody reads with the keyboard or marks a text. */
export const script = `
setTimeout(function again(){
var idle=document.visibilityState==="visible"&&document.activeElement===document.body&&getSelection().isCollapsed;
if(idle)location.reload();else setTimeout(again,2000)
},Number(document.body.dataset.refresh)*1000)
`;

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Nothing from elsewhere, and of the page itself these two texts alone. */
export const contentPolicy = [
  "default-src 'none'",
  `style-src ${hashOf(styles)}`,
  `script-src ${hashOf(script)}`,
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join("; ");
