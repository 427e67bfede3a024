// The style sheet of the HTML report.
#pragma once

namespace mixflow {

// Light and dark by the reader's system, one column on a phone, plain on paper. Series colours have
// a contrast of 3:1 or more to the page in both themes.
inline constexpr const char* kReportStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #fff; --ink: #1b1f24; --muted: #57606a; --grid: #dfe3e8; --raised: #f5f7f9; --link: #0b62b0;
  --series-1: #0b62b0; --series-2: #c2410c; --series-3: #15803d; --series-4: #7e22ce;
  --series-5: #0e7490; --series-6: #be185d; --series-7: #8a6100; --series-8: #4d5a6b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161c; --ink: #e6eaef; --muted: #9aa6b2; --grid: #2e3742; --raised: #1b222b; --link: #6cb2f7;
    --series-1: #6cb2f7; --series-2: #ff9d66; --series-3: #5fd38a; --series-4: #c99bff;
    --series-5: #56d0e0; --series-6: #ff8fc1; --series-7: #e3c25a; --series-8: #b6c2d1;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 82rem; overflow-wrap: anywhere;
  background: var(--page); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
}
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.25rem 0 .75rem; border-bottom: 1px solid var(--grid); padding-bottom: .25rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--link); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; margin: .75rem 0 0; list-style: none; }
.note, figcaption small { color: var(--muted); font-size: .875rem; }
.scroll { overflow: auto; max-height: 75vh; margin: .75rem 0; border: 1px solid var(--grid); border-radius: 6px; max-width: max-content; }
.scroll:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding: .5rem .75rem; color: var(--muted); }
caption span { position: sticky; left: .75rem; display: inline-block; max-width: min(100%, calc(100vw - 4rem)); }
th, td { padding: .3rem .75rem; text-align: right; white-space: nowrap; }
th.word, tbody th { text-align: left; font-weight: 500; }
th.word { font-weight: 600; }
thead th { position: sticky; top: 0; background: var(--raised); font-weight: 600; }
tbody tr { border-top: 1px solid var(--grid); }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-weight: 600; line-height: 1.35; }
figcaption small { display: block; font-weight: 400; }
figure svg { display: block; width: 100%; height: auto; margin: .5rem 0 .25rem; color: var(--ink); }
.legend { list-style: none; padding: 0; margin: 0; font-size: .85rem; line-height: 1.4; }
.legend li { display: flex; gap: .5rem; align-items: baseline; }
.legend svg { flex: none; display: inline-block; width: 1.25rem; height: .6rem; margin: 0; }
details { margin: .75rem 0; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; font-size: .9rem; }
dt { color: var(--muted); }
dd { margin: 0; }
@media (max-width: 40rem) {
  dl { display: block; }
  dd { margin: 0 0 .4rem; }
}
@media print {
  :root {
    color-scheme: light;
    --page: #fff; --ink: #000; --muted: #444; --grid: #ccc; --raised: #fff; --link: #000;
    --series-1: #0b62b0; --series-2: #c2410c; --series-3: #15803d; --series-4: #7e22ce;
    --series-5: #0e7490; --series-6: #be185d; --series-7: #8a6100; --series-8: #4d5a6b;
  }
  @page { margin: 1.5cm; }
  body { max-width: none; padding: 0; font-size: 9pt; }
  h2 { break-after: avoid; }
  nav { display: none; }
  .scroll { overflow: visible; max-height: none; border: 0; }
  table { font-size: 7pt; }
  th, td { padding: .15rem .35rem; white-space: normal; }
  thead th { position: static; }
  tr, figure { break-inside: avoid; }
  .plots { grid-template-columns: 1fr 1fr; }
}
)css";

}  // namespace mixflow
