"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = id => document.getElementById(id);
const AT_ONCE = 24;
const WORDS = {flipped: "flipped", not_found: "not found", already: "already there", failed: "failed"};
let shown = 0, chosen = [];

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function figure(uri, caption) {
  const made = element("figure"), image = element("img");
  image.src = uri;
  image.alt = caption;
  made.append(image, element("figcaption", caption));
  return made;
}

function svg(name, values, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(values)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function arrow(x0, y0, x1, y1, kind) {
  const length = Math.hypot(x1 - x0, y1 - y0), back = Math.min(6, length);
  const lines = [[x0, y0, x1, y1]];
  for (const turn of [2.6, -2.6]) {
    const angle = Math.atan2(y1 - y0, x1 - x0) + turn;
    lines.push([x1, y1, x1 + back * Math.cos(angle), y1 + back * Math.sin(angle)]);
  }
  return lines.map(([a, b, c, d]) => svg("line", {x1: a, y1: b, x2: c, y2: d, class: kind}));
}

function inside(value, side) {
  return Math.min(side - 7, Math.max(7, value));
}

function blobs(pair) {
  const made = figure(data.images[pair.image].blobs, "blobs that changed; + grew, − shrank");
  const width = 100 * data.aspect, drawing = svg("svg", {viewBox: `0 0 ${width} 100`});
  for (const [blob, x0, y0, x1, y1, growth] of pair.moved) {
    if (blob < 0) continue;
    if (Math.hypot((x1 - x0) * data.aspect, y1 - y0) > data.moved)
      for (const kind of ["edge", "way"]) drawing.append(...arrow(width * x0, 100 * y0, width * x1, 100 * y1, kind));
    const sign = Math.abs(growth) < data.grown ? "" : growth > 0 ? "+" : "−";
    drawing.append(svg("text", {x: inside(width * x1, width), y: inside(100 * y1, 100)}, blob + sign));
  }
  made.append(drawing);
  return made;
}

function bars(pair) {
  const made = element("div", undefined, "bars");
  made.append(element("span", "score"), element("span", "before"), element("span", "after"));
  data.names.forEach((name, place) => {
    made.append(element("span", name));
    for (const scores of [pair.before, pair.after]) {
      const bar = element("div", undefined, place === pair.attribute ? "bar wanted" : "bar"), fill = element("span");
      const value = scores[place];
      fill.style.width = `${100 * Math.min(1, Math.max(0, value ?? 0))}%`;
      bar.title = value === null ? "not finite" : value.toFixed(3);
      bar.append(fill);
      made.append(bar);
    }
  });
  return made;
}

function card(pair) {
  const made = element("article", undefined, "card"), image = data.images[pair.image], row = element("div", undefined, "row");
  const head = element("h3", `${pair.image}: ${data.names[pair.attribute]} → ${pair.target ? "yes" : "no"}${pair.number ? `, number ${pair.number}` : ""} `);
  head.append(element("span", WORDS[pair.outcome], `outcome ${pair.outcome}`));
  if (image.real) row.append(figure(image.real, "real"));
  row.append(figure(image.before, "before"), figure(pair.picture, "after"), figure(pair.difference, "difference"), blobs(pair));
  if (pair.real) row.append(figure(pair.real, pair.on_real ? "on real: still a flip" : "on real: no flip"));
  const numbers = pair.moved.map(blob => blob[0] < 0 ? "background" : blob[0]);
  const facts = [`blobs ${numbers.join(", ") || "none"}`, ...pair.facts];
  made.append(head, row, bars(pair), element("p", facts.join(" · "), "facts"));
  return made;
}

function more() {
  byId("cards").append(...chosen.slice(shown, shown + AT_ONCE).map(card));
  shown = Math.min(shown + AT_ONCE, chosen.length);
  byId("more").hidden = shown === chosen.length;
}

function choose() {
  const [attribute, outcome, target, real, order] = ["attribute", "outcome", "target", "real", "order"].map(id => byId(id).value);
  const search = byId("search").value.toLowerCase();
  chosen = data.pairs.filter(pair => (!attribute || pair.attribute === +attribute) && (!outcome || pair.outcome === outcome)
    && (!target || pair.target === +target) && (!real || pair.on_real === Boolean(+real))
    && pair.image.toLowerCase().includes(search));
  if (order) chosen.sort((one, two) => (one[order] ?? Infinity) - (two[order] ?? Infinity));
  byId("cards").replaceChildren();
  byId("count").textContent = `${chosen.length} of ${data.pairs.length} pairs`;
  shown = 0;
  more();
}

for (const place of [...new Set(data.pairs.map(pair => pair.attribute))].sort((one, two) => one - two))
  byId("attribute").append(new Option(data.names[place], place));
for (const outcome of new Set(data.pairs.map(pair => pair.outcome))) byId("outcome").append(new Option(WORDS[outcome], outcome));
for (const id of ["attribute", "outcome", "target", "real", "order"]) byId(id).addEventListener("change", choose);
byId("search").addEventListener("input", choose);
byId("more").addEventListener("click", more);
choose();
