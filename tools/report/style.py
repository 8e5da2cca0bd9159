"""The page's style sheet: light, dark and print, no font or file from elsewhere.

Text has at least 4.5 times the luminance of what it stands on, lines of charts 3 times (WCAG 2.2, AA).
"""

LIGHT = """--ground: #f7f7f5; --card: #ffffff; --ink: #1b1f23; --soft: #57606a; --line: #d8dce0; --accent: #0a58ca;
  --shade: #eef1f4; --good: #e7f5ea; --goodink: #14532d; --bad: #b42318; --wait: #8a4b00; --c0: #1f6feb; --c1: #c2410c;
  --c2: #237a38; --c3: #9333a8; --c4: #946200; --c5: #0b7a80; --c6: #be185d; --c7: #57606a;"""
DARK = """--ground: #131619; --card: #1b2024; --ink: #e6e9ec; --soft: #a3adb6; --line: #343c43; --accent: #7ab8ff;
  --shade: #242a30; --good: #17301f; --goodink: #a6e9b8; --bad: #ff9c8f; --wait: #f0b45b; --c0: #6cb2ff; --c1: #ff9258;
  --c2: #69d17d; --c3: #d892ef; --c4: #e8bd4b; --c5: #4fd0d5; --c6: #ff7fa8; --c7: #a9b4c6;"""

CSS = ":root { " + LIGHT + """ }
@media (prefers-color-scheme: dark) { :root { """ + DARK + """ } }
@media print { :root { """ + LIGHT + """ } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2.2rem 1.5rem 5rem; max-width: 1240px; background: var(--ground); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .9rem; padding-bottom: .35rem; border-bottom: 2px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.7rem 0 .5rem; }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, summary:focus-visible, .wide:focus-visible, pre:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .6rem; background: var(--card);
  padding: .4rem; }
p.lead, figcaption, caption, .note, small { color: var(--soft); }
p.lead { margin: 0 0 .9rem; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; margin: 0 0 1rem; }
nav a { padding: .2rem .75rem; border: 1px solid var(--line); border-radius: 99px; background: var(--card);
  text-decoration: none; font-size: .9rem; }
nav a:hover { border-color: var(--accent); }
.beside { font-size: .92rem; } .beside p { margin: 0; color: var(--soft); } .beside ul { margin: .2rem 0 0; }
.beside span, .links span, figcaption span { color: var(--soft); font-size: .86em; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 1.2rem 1.4rem 1rem;
  margin: 0 0 1.3rem; }
.card h3 { margin: 0; font-size: 1.18rem; line-height: 1.3; }
.card .found { margin: .35rem 0 1rem; max-width: 75ch; font-size: 1.02rem; }
.card .both { display: grid; grid-template-columns: minmax(0, 1fr); gap: 1.2rem; align-items: start; }
.card .wide { margin: 0; max-height: none; } .card :is(th, td) { padding: .34rem .6rem; }
.card table { font-size: .9rem; }
.card figure { border: 0; padding: 0; }
.card figure img { max-height: 24rem; width: auto; } .card.pictured figure img { max-height: 30rem; }
.card.pictured tbody th { white-space: normal; min-width: 8rem; }
.card .links { margin: .9rem 0 0; font-size: .9rem; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; }
@media (min-width: 1000px) { .card.pictured .both { grid-template-columns: minmax(0, 6fr) minmax(0, 5fr); } }
.wide { overflow: auto; max-height: 36rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: .5rem 0 1rem; max-width: 100%; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .38rem .75rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap;
  vertical-align: top; }
td.long { white-space: normal; min-width: 15rem; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { font-weight: 600; color: var(--soft); font-size: .85rem; background: var(--shade); position: sticky;
  top: 0;
  white-space: normal; vertical-align: bottom; min-width: 4.5rem; overflow-wrap: normal; }
tbody th { font-weight: 600; } th.number, td.number { text-align: right; }
td strong { background: var(--good); color: var(--goodink); border-radius: 4px; padding: .05rem .35rem;
  margin: 0 -.35rem; }
.better { font-weight: 400; } td small { display: block; white-space: normal; }
tbody tr:hover > * { background: var(--shade); }
caption { text-align: left; padding: .5rem .75rem 0; font-size: .86rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(330px, 100%), 1fr)); gap: 1rem; }
.charts.single figure { max-width: 620px; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: .7rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
figure a { display: block; }
.pictures figure { max-width: min(580px, 100%); min-width: 12rem; } .pictures figcaption { contain: inline-size; }
.pictures figure img { max-height: 20rem; width: auto; }
img.tiny { image-rendering: pixelated; }
figcaption { font-size: .86rem; margin-top: .45rem; }
svg { width: 100%; height: auto; display: block; }
svg line { stroke: var(--line); } svg text { fill: var(--soft); font-size: 11px; }
svg polyline { fill: none; stroke-width: 1.7; stroke-linejoin: round; }
""" + "\n".join(f".line{index}, .key .line{index} {{ stroke: var(--c{index}); }}" for index in range(8)) + """
.key { display: inline-block; margin-right: .9rem; }
.key svg { display: inline-block; width: 1.3rem; height: .6rem; margin-right: .3rem; } .key line { stroke-width: 3; }
details { margin: .45rem 0; } summary { cursor: pointer; color: var(--accent); padding: .15rem 0; }
details.all { margin-top: .9rem; } details details { margin-left: 1rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .7rem .9rem;
  margin: .3rem 0 .8rem;
  overflow-x: auto; font-size: .85rem; white-space: pre-wrap; max-height: 20rem; }
.status { font-size: .82rem; font-weight: 600; border: 1px solid currentcolor; border-radius: 99px; padding: 0 .5rem;
  white-space: normal; }
.status.failed { color: var(--bad); } .status.interrupted, .status.running { color: var(--wait); }
.warn { border: 1px solid var(--bad); border-left-width: 5px; border-radius: 8px; background: var(--card);
  padding: .2rem 1rem; margin: 1rem 0; max-height: 16rem; overflow: auto; }
@media (max-width: 600px) { body { padding: 1.2rem .8rem 3rem; } .card { padding: 1rem .9rem; }
  h1 { font-size: 1.5rem; } th, td { padding: .35rem .55rem; } tbody th { white-space: normal; min-width: 7rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav, .skip { display: none; }
  .wide, pre, .warn { overflow: visible; max-height: none; } th, td { white-space: normal; overflow-wrap: anywhere;
  min-width: 0; }
  thead th { position: static; min-width: 0; overflow-wrap: anywhere; } td.long { min-width: 0; }
  table.many { table-layout: fixed; font-size: 5pt; } table.many :is(th, td) { padding: .1rem; }
  .card, figure, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  details::details-content { content-visibility: visible; display: block; height: auto; } }
"""
