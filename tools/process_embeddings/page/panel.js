// The side panel: record and neighbours, classes, selection, numbers. Texts of records are only ever set as text.

const byId = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children.filter((child) => child != null));
  return element;
}

const className = (tab, i) => tab.classes.names[tab.classes.of[i]];
const idOf = (tab, i) => tab.columns.find((column) => column.name === "sample_id")?.at(i) ?? `point ${i}`;

function showRecord(tab) {
  const i = tab.chosen, box = byId("record");
  if (i < 0) {
    box.replaceChildren(make("p", { className: "soft", textContent: "Click a point to see its record and its nearest neighbours." }));
    return;
  }
  const picture = thumbnail(tab, i);
  if (picture) picture.className = "big";
  const table = make("table");
  for (const [name, value] of tab.columns.map((column) => [column.name, column.at(i)])) if (value !== "") table.append(make("tr", {}, make("th", { textContent: name }), make("td", { textContent: value })));
  const list = make("div", { className: "neighbours" });
  for (let k = 0; k < tab.k; k++) list.append(neighbourButton(tab, tab.neighbours[i * tab.k + k], tab.distances[i * tab.k + k]));
  const head = make("div", { className: "head" }, picture, make("div", {}, make("b", { textContent: className(tab, i) }),
    make("p", { textContent: tab.sets[tab.set[i]] }), make("p", { className: "soft", textContent: idOf(tab, i) })));
  const fields = make("div", { className: "fields", tabIndex: 0 }, table);
  fields.setAttribute("role", "region");
  fields.setAttribute("aria-label", "Record of the chosen point");
  const near = tab.k ? [make("p", { className: "soft", textContent: `nearest ${tab.near}, with distance` }), list] : [];
  box.replaceChildren(head, ...near, fields);
}

// For those who do not see the rings: which point was chosen.
function announce(tab) {
  const i = tab.chosen;
  byId("announce").textContent = i < 0 ? "No point chosen" : `Chosen: ${className(tab, i)}, ${tab.sets[tab.set[i]]}, ${idOf(tab, i)}`;
}

function neighbourButton(tab, i, distance) {
  const about = `${className(tab, i)}, ${tab.sets[tab.set[i]]}, ${idOf(tab, i)}`;
  const button = make("button", { type: "button", title: about, onclick: () => choose(i, true) }, thumbnail(tab, i),
    make("span", { textContent: className(tab, i) }), make("span", { className: "soft", textContent: distance.toPrecision(3) }));
  button.style.borderColor = cssColour(tab.colours[i]);
  button.setAttribute("aria-label", `${about}, distance ${distance.toPrecision(3)}`);
  return button;
}

function showTip(tab, x, y) {
  const tip = byId("tip"), i = state.hover;
  overlay.classList.toggle("over", i >= 0);
  tip.hidden = i < 0;
  if (i < 0) return;
  if (tip.dataset.point !== `${state.tab}:${i}`) {
    tip.dataset.point = `${state.tab}:${i}`;
    tip.replaceChildren(...[thumbnail(tab, i)].filter(Boolean), make("b", { textContent: className(tab, i) }),
      make("div", { className: "soft", textContent: `${tab.sets[tab.set[i]]} · ${idOf(tab, i)}` }));
  }
  const box = overlay.getBoundingClientRect(), size = tip.getBoundingClientRect();
  tip.style.left = `${x + 18 + size.width > box.width ? Math.max(0, x - 14 - size.width) : x + 18}px`;
  tip.style.top = `${Math.max(0, Math.min(y + 14, box.height - size.height - 6))}px`;
}

// A line of a filter: box, colour, name, number of points, and a button for this one alone.
function choice(tab, kind, k, name, colour) {
  const hidden = kind === "class" ? tab.hiddenClasses : tab.hiddenSets;
  const total = kind === "class" ? tab.classes.names.length : tab.sets.length;
  const box = make("input", { type: "checkbox", checked: !hidden.has(k) });
  box.onchange = () => { hidden[box.checked ? "delete" : "add"](k); refilter(); };
  const dot = make("span", { className: "swatch" });
  dot.style.background = colour ?? "";
  dot.hidden = !colour;
  const only = make("button", { type: "button", className: "only", textContent: "only", onclick: () => {
    hidden.clear();
    for (let other = 0; other < total; other++) if (other !== k) hidden.add(other);
    refilter();
    showFilters(tab);
  } });
  only.setAttribute("aria-label", `only ${name}`);
  const line = make("div", { className: "choice" },
    make("label", {}, box, dot, make("span", { className: "name", textContent: name, title: name }), make("span", { className: "soft count" })), only);
  line.dataset.name = name.toLowerCase();
  return line;
}

function countsOf(indices, total) {
  const counts = new Uint32Array(total);
  for (const k of indices) counts[k]++;
  return counts;
}

function showFilters(tab) {
  const colour = (by, k, n) => (state.colourBy === by ? `rgb(${colourOf(k, n).join(" ")})` : null), { names } = tab.classes;
  byId("set-filter").replaceChildren(...tab.sets.map((name, k) => choice(tab, "set", k, name, colour("set", k, tab.sets.length))));
  byId("class-filter").replaceChildren(...names.map((name, k) => choice(tab, "class", k, name, colour("class", k, names.length))));
  findClass();
  showCounts(tab);
}

// How many points each set and class has that pass all other filters.
function showCounts(tab) {
  for (const [id, counts] of [["set-filter", tab.setCounts], ["class-filter", tab.classCounts]]) {
    [...byId(id).children].forEach((line, k) => {
      line.querySelector(".count").textContent = counts[k].toLocaleString("en");
      line.classList.toggle("empty", !counts[k]);
    });
  }
}

function findClass() {
  const wanted = byId("class-search").value.trim().toLowerCase();
  for (const line of byId("class-filter").children) line.hidden = wanted !== "" && !line.dataset.name.includes(wanted);
}

function showColours(tab) {
  const columns = tab.columns.filter((column) => column.values || column.of);
  columns.sort((a, b) => Boolean(b.computed) - Boolean(a.computed));
  const known = ["set", "class", ...columns.map(({ name }) => name)];
  if (!known.includes(state.colourBy)) state.colourBy = tab.sets.length > 1 ? "set" : "class";
  byId("colour").replaceChildren(...known.map((value) => make("option", { value, textContent: value, selected: value === state.colourBy })));
  const by = colouring(tab), isColumn = !["set", "class"].includes(state.colourBy);
  byId("ramp").hidden = !by.values;
  byId("legend").hidden = !isColumn || Boolean(by.values);
  if (by.values) showRamp(by.values);
  else if (isColumn) showLegend(tab, by);
}

function showRamp(values) {
  const [low, high] = span(values), ramp = byId("ramp"), canvas = ramp.querySelector("canvas"), brush = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    brush.fillStyle = `rgb(${rampColour(x / (canvas.width - 1)).join(" ")})`;
    brush.fillRect(x, 0, 1, canvas.height);
  }
  ramp.firstElementChild.textContent = low.toPrecision(3);
  ramp.lastElementChild.textContent = high.toPrecision(3);
}

// The words of a column with their colours, most frequent first.
function showLegend(tab, { names, of }) {
  const counts = countsOf(of, names.length), order = [...names.keys()].sort((a, b) => counts[b] - counts[a] || a - b);
  const lines = order.slice(0, 30).map((k) => {
    const dot = make("span", { className: "swatch" });
    dot.style.background = names[k] === "" ? "#808080" : `rgb(${colourOf(k, names.length).join(" ")})`;
    return make("div", { className: "choice" }, dot, make("span", { className: "name", textContent: names[k] || "(none)" }), make("span", { className: "soft", textContent: counts[k].toLocaleString("en") }));
  });
  if (order.length > 30) lines.push(make("div", { className: "soft", textContent: `and ${order.length - 30} more` }));
  byId("legend").replaceChildren(...lines);
}

function showSelection(tab) {
  const chosen = selectedIndices(tab);
  tab.numSelected = chosen.length;
  const counts = countsOf(chosen.map((i) => tab.classes.of[i]), tab.classes.names.length);
  byId("selected-count").textContent = chosen.length.toLocaleString("en");
  byId("export").disabled = !chosen.length;
  const ranked = [...counts.keys()].filter((k) => counts[k]).sort((a, b) => counts[b] - counts[a]);
  const told = ranked.slice(0, 5).map((k) => `${tab.classes.names[k]} ${counts[k]}`).join(", ");
  showTable(tab);
  byId("selected-classes").textContent = told + (ranked.length > 5 ? `, and ${ranked.length - 5} more classes` : "");
}

function showNumbers(tab) {
  byId("numbers").replaceChildren(...tab.numbers.map(([what, value]) => make("tr", {}, make("th", { textContent: what }), make("td", { textContent: value }))));
  byId("notes").replaceChildren(...tab.notes.map((note) => make("p", { className: "note", textContent: note })));
}

function showStatus(tab) {
  byId("status").textContent = `${tab.numShown.toLocaleString("en")} of ${tab.count.toLocaleString("en")} shown`;
}
