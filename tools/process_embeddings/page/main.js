// The page's state, what keys and buttons do with it, and its start.

const state = { tab: 0, mode: "move", colourBy: "", size: 1, alpha: 1, pictures: false, labels: true, hover: -1, key: -1, path: [], labelled: [],
  drag: null, pinch: null, due: 0, dueAll: false, drawn: false };
const current = () => tabs[state.tab];

// Draw at the next frame; everything, or the second canvas only. The first drawing, and any in the background, waits for no frame.
function redraw(all = true) {
  state.dueAll ||= all;
  if (!state.drawn || document.hidden) draw();
  else state.due ||= requestAnimationFrame(draw);
  if (all) noteAddress();
}

function draw() {
  const tab = current(), everything = state.dueAll;
  cancelAnimationFrame(state.due);
  [state.due, state.dueAll, state.drawn] = [0, false, true];
  if (everything) drawPoints(tab);
  drawOverlay(tab);
}

function refilter() {
  applyFilter(current());
  showStatus(current());
  showCounts(current());
  drawHistograms(current());
  showTable(current());
  redraw();
}

function recolour() {
  paint(current());
  showFilters(current());
  showColours(current());
  showRecord(current());
  drawHistograms(current());
  redraw();
}

function openMap(number) {
  state.tab = number;
  state.hover = -1;
  byId("tip").hidden = true;
  const tab = current();
  [...byId("tabs").children].forEach((button, k) => {
    button.setAttribute("aria-selected", String(k === number));
    button.tabIndex = k === number ? 0 : -1;
  });
  if (tab.same && state.key >= 0) carryChosen(tab);
  byId("search").value = tab.query;
  byId("axes-label").hidden = tab.dimensions < 3;
  byId("axes").value = tab.axes.join("");
  byId("size").value = state.size;
  for (const name of ["labels", "pictures"]) byId(name).setAttribute("aria-pressed", String(state[name]));
  showColours(tab);
  applyFilter(tab);
  if (!tab.view) fit(tab);
  showRanges(tab);
  recolour();
  showSelection(tab);
  showNumbers(tab);
  showStatus(tab);
}

// The sample chosen on another map, where this one has it.
function carryChosen(tab) {
  tab.placeOf ??= new Map(Array.from(tab.same, (key, i) => [key, i]));
  tab.chosen = tab.placeOf.get(state.key) ?? -1;
  announce(tab);
}

function choose(i, reveal = false) {
  const tab = current();
  tab.chosen = i;
  state.key = i >= 0 && tab.same ? tab.same[i] : -1;
  showRecord(tab);
  showTable(tab);
  announce(tab);
  if (i >= 0 && reveal) {
    const [x, y] = screen(tab, i);
    if (x < 0 || y < 0 || x > points.width || y > points.height) {
      tab.view.x += points.width / 2 - x;
      tab.view.y += points.height / 2 - y;
    }
  }
  redraw();
}

function setMode(mode) {
  state.mode = mode;
  overlay.classList.toggle("drawing", mode !== "move");
  for (const button of document.querySelectorAll("[data-mode]")) {
    button.setAttribute("aria-checked", String(button.dataset.mode === mode));
    button.tabIndex = button.dataset.mode === mode ? 0 : -1;
  }
}

// Choose the next shown point from left to right (by = 1) or from right to left (-1).
function step(by) {
  const tab = current();
  if (!tab.numShown) return;
  tab.ranks ??= Array.from(tab.order.keys()).sort((a, b) => tab.x[a] - tab.x[b]);
  let at = tab.ranks.indexOf(tab.chosen);
  if (at < 0) at = by > 0 ? -1 : 0;
  do at = (at + by + tab.count) % tab.count; while (!tab.shown[tab.ranks[at]]);
  choose(tab.ranks[at], true);
}

const KEYS = {
  ArrowLeft: () => { current().view.x += 60 * ratio; redraw(); },
  ArrowRight: () => { current().view.x -= 60 * ratio; redraw(); },
  ArrowUp: () => { current().view.y += 60 * ratio; redraw(); },
  ArrowDown: () => { current().view.y -= 60 * ratio; redraw(); },
  "+": () => { zoom(current(), 1.3); redraw(); },
  "=": () => { zoom(current(), 1.3); redraw(); },
  "-": () => { zoom(current(), 1 / 1.3); redraw(); },
  0: () => { fit(current()); redraw(); },
  n: () => step(1),
  p: () => step(-1),
  m: () => setMode("move"),
  b: () => setMode("box"),
  l: () => setMode("lasso"),
  i: () => byId("pictures").click(),
  c: () => byId("labels").click(),
  t: () => toggleTable(),
  Enter: () => { if (state.hover >= 0) choose(state.hover); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (typing) return event.target.blur();
    clearSelection();
    return choose(-1);
  }
  if (typing) return;
  if (event.key === "/") {
    event.preventDefault();
    return byId("search").focus();
  }
  const onMap = event.target === overlay || event.target === document.body || event.key.length === 1; // Enter and arrows belong to buttons
  const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!action || !onMap) return;
  event.preventDefault();
  action();
});

function clearSelection() {
  current().selected.fill(0);
  showSelection(current());
  redraw();
}

function button(id, action) {
  byId(id).addEventListener("click", action);
}

button("zoom-in", () => { zoom(current(), 1.5); redraw(); });
button("zoom-out", () => { zoom(current(), 1 / 1.5); redraw(); });
button("fit", () => { fit(current()); redraw(); });
for (const name of ["pictures", "labels"]) {
  button(name, () => {
    state[name] = !state[name];
    byId(name).setAttribute("aria-pressed", String(state[name]));
    redraw();
  });
}
button("save-picture", savePicture);
button("table-open", () => toggleTable());
button("table-close", () => toggleTable(false));
button("table-more", () => { table.rows += PAGE; showTable(current()); });
button("clear", clearSelection);
button("select-shown", () => { current().selected.set(current().shown); showSelection(current()); redraw(); });
button("export", () => download("selection.csv", new Blob([selectionCsv(current())], { type: "text/csv" })));
button("classes-all", () => { current().hiddenClasses.clear(); refilter(); showFilters(current()); });
button("classes-none", () => { current().classes.names.forEach((_, k) => current().hiddenClasses.add(k)); refilter(); showFilters(current()); });
for (const item of document.querySelectorAll("[data-mode]")) {
  item.addEventListener("click", () => setMode(item.dataset.mode));
  item.addEventListener("keydown", (event) => {
    const modes = [...document.querySelectorAll("[data-mode]")], by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = modes[(modes.indexOf(item) + by + modes.length) % modes.length];
    setMode(next.dataset.mode);
    next.focus();
  });
}
byId("search").addEventListener("input", (event) => { current().query = event.target.value; refilter(); });
byId("class-search").addEventListener("input", findClass);
byId("colour").addEventListener("change", (event) => { state.colourBy = event.target.value; recolour(); });
byId("size").addEventListener("input", (event) => { state.size = Number(event.target.value); redraw(); });
byId("range-add").addEventListener("change", (event) => { current().ranges.set(event.target.value, [-Infinity, Infinity]); showRanges(current()); noteAddress(); });
byId("axes").addEventListener("change", (event) => {
  const tab = current();
  [tab.axes, tab.ranks, tab.labels] = [[...event.target.value].map(Number), null, null];
  placePoints(tab);
  redraw();
});
byId("tabs").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  openMap((state.tab + by + tabs.length) % tabs.length);
  byId("tabs").children[state.tab].focus();
});
dark.addEventListener("change", () => recolour());
addEventListener("hashchange", () => { if (location.hash !== addressWritten) readAddress(); });

// A canvas of another size is empty, and drawn at once.
function resized() {
  const before = [points.width, points.height];
  if (!resize()) return;
  for (const tab of tabs) {
    if (tab.view && isFitted(tab)) fit(tab);
    else if (tab.view) [tab.view.x, tab.view.y] = [tab.view.x + (points.width - before[0]) / 2, tab.view.y + (points.height - before[1]) / 2];
  }
  state.dueAll = true;
  draw();
  noteAddress();
}

// For programs that drive the page: where a point stands, in CSS pixels of the window.
function screenOf(i) {
  const box = overlay.getBoundingClientRect(), [x, y] = screen(current(), i);
  return [box.left + x / ratio, box.top + y / ratio];
}

function start() {
  byId("heading").textContent = content.heading;
  tabs.forEach((tab, k) => {
    const item = make("button", { type: "button", textContent: tab.title, onclick: () => openMap(k) });
    item.setAttribute("role", "tab");
    byId("tabs").append(item);
  });
  byId("tabs").hidden = tabs.length < 2;
  byId("pictures").parentElement.hidden = !sheets.length;
  resize();
  setMode("move");
  readAddress();
  new ResizeObserver(resized).observe(overlay.parentElement);
  window.explorer = { tabs, state, screenOf };
  sheetsReady.then(() => { showRecord(current()); redraw(); });
}

// The picture of the map, and why there is no more.
function giveUp(reason) {
  byId("app").hidden = true;
  fallback.hidden = false;
  byId("reason").textContent = reason;
}

if (typeof DecompressionStream === "undefined") giveUp("This browser is too old for the interactive map (it needs Chrome 80, Firefox 113, Safari 16.4 or later).");
else unpack().then(start).catch((error) => { giveUp(`The interactive map could not be opened: ${error.message}`); throw error; });
