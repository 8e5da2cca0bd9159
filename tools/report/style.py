"""The page's style sheet: light and dark, no font or file from elsewhere."""

CSS = """
:root { --ground: #fbfbfa; --card: #fff; --ink: #1d2226; --soft: #667078; --line: #dfe3e6; --accent: #1f6feb;
  --c0: #1f6feb; --c1: #d9480f; --c2: #2b8a3e; --c3: #9c36b5; --c4: #b58105; --c5: #0b8a8f;
  --c6: #c2255c; --c7: #5c677d; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171a; --card: #1c2125; --ink: #e4e8eb; --soft: #98a3ab; --line: #333b41; --accent: #6cb2ff;
    --c0: #6cb2ff; --c1: #ff9258; --c2: #69d17d; --c3: #d892ef; --c4: #e8bd4b; --c5: #4fd0d5;
    --c6: #ff7fa8; --c7: #a9b4c6; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 1180px; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .6rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .5rem; }
p.lead, figcaption, caption, .note { color: var(--soft); }
nav { margin-bottom: 1rem; } nav a { margin-right: 1rem; color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: .6rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.long { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 0; }
th { font-weight: 600; color: var(--soft); font-size: .86rem; }
th.number, td.number { text-align: right; }
tbody tr:hover { background: color-mix(in srgb, var(--accent) 7%, transparent); }
caption { text-align: left; padding: .5rem .75rem 0; font-size: .86rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(330px, 1fr)); gap: 1rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; padding: .6rem; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  max-width: 100%; }
figure img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
.pictures figure { max-width: 560px; } .pictures figure:only-child { max-width: 100%; }
img.tiny { image-rendering: pixelated; }
figcaption { font-size: .82rem; margin-top: .4rem; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
svg line { stroke: var(--line); }
svg text { fill: var(--soft); font-size: 11px; }
svg polyline { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
.line0 { stroke: var(--c0); } .line1 { stroke: var(--c1); } .line2 { stroke: var(--c2); } .line3 { stroke: var(--c3); }
.line4 { stroke: var(--c4); } .line5 { stroke: var(--c5); } .line6 { stroke: var(--c6); } .line7 { stroke: var(--c7); }
.key { display: inline-block; margin-right: .9rem; }
.key svg { display: inline-block; width: 1.3rem; height: .6rem; margin-right: .3rem; }
.key line { stroke-width: 3; } .key .line0 { stroke: var(--c0); } .key .line1 { stroke: var(--c1); }
.key .line2 { stroke: var(--c2); } .key .line3 { stroke: var(--c3); } .key .line4 { stroke: var(--c4); }
.key .line5 { stroke: var(--c5); } .key .line6 { stroke: var(--c6); } .key .line7 { stroke: var(--c7); }
details { margin: .4rem 0; } summary { cursor: pointer; color: var(--accent); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .8rem; overflow-x: auto;
  font-size: .85rem; }
.warn { border-left: 3px solid var(--c1); padding-left: .8rem; margin: 1rem 0; }
@media print { body { max-width: none; } details { display: block; } }
"""
