// The page's state, and what mouse and keys do with it.

const state = { tab: 0, mode: "move", colourBy: "", size: 1, alpha: 1, pictures: false, hover: -1, path: [], drag: null, due: 0, dueAll: false };
const current = () => tabs[state.tab];

// Draw at the next frame; everything, or the second canvas only.
function redraw(all = true) {
  state.dueAll ||= all;
  if (state.due) return;
  state.due = requestAnimationFrame(() => {
    const tab = current(), everything = state.dueAll;
    [state.due, state.dueAll] = [0, false];
    if (!tab.view) fit(tab);
    if (everything) drawPoints(tab);
    drawOverlay(tab);
  });
}

function refilter() {
  applyFilter(current());
  showStatus(current());
  redraw();
}

function recolour() {
  paint(current());
  showFilters(current());
  showColours(current());
  showRecord(current());
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
  byId("search").value = tab.query;
  byId("axes-label").hidden = tab.dimensions < 3;
  byId("axes").value = tab.axes.join("");
  showColours(tab);
  applyFilter(tab);
  recolour();
  showSelection(tab);
  showNumbers(tab);
  showStatus(tab);
}

function choose(i, reveal = false) {
  const tab = current();
  tab.chosen = i;
  showRecord(tab);
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
  for (const button of document.querySelectorAll("[data-mode]")) button.setAttribute("aria-checked", String(button.dataset.mode === mode));
}

const place = (event) => {
  const box = overlay.getBoundingClientRect();
  return [(event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio];
};

function hover(event) {
  const [x, y] = place(event), found = pointAt(current(), x, y, Math.max(10 * ratio, radius(current()) + 3));
  if (found !== state.hover) {
    state.hover = found;
    redraw(false);
  }
  showTip(current(), x / ratio, y / ratio);
}

overlay.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  overlay.setPointerCapture(event.pointerId);
  const [x, y] = place(event), drawing = state.mode !== "move" || event.shiftKey;
  state.drag = { x, y, startX: x, startY: y, moved: false, kind: drawing ? (state.mode === "lasso" ? "lasso" : "box") : "move" };
});

overlay.addEventListener("pointermove", (event) => {
  const drag = state.drag, tab = current(), [x, y] = place(event);
  if (!drag) return hover(event);
  if (!drag.moved && Math.hypot(x - drag.startX, y - drag.startY) < 4 * ratio) return;
  if (!drag.moved) {
    drag.moved = true;
    if (drag.kind === "lasso") state.path = [[drag.startX, drag.startY]];
    state.hover = -1;
    byId("tip").hidden = true;
    overlay.classList.toggle("dragging", drag.kind === "move");
  }
  if (drag.kind === "move") {
    tab.view.x += x - drag.x;
    tab.view.y += y - drag.y;
    redraw();
  } else {
    if (drag.kind === "box") state.path = [[drag.startX, drag.startY], [x, drag.startY], [x, y], [drag.startX, y]];
    else state.path.push([x, y]);
    redraw(false);
  }
  [drag.x, drag.y] = [x, y];
});

overlay.addEventListener("pointerup", (event) => {
  const drag = state.drag, tab = current();
  state.drag = null;
  overlay.classList.remove("dragging");
  if (!drag) return;
  if (!drag.moved) choose(pointAt(tab, ...place(event), Math.max(10 * ratio, radius(tab) + 3)));
  else if (drag.kind !== "move") {
    selectWithin(tab, state.path, event.shiftKey && state.mode !== "move");
    state.path = [];
    showSelection(tab);
    redraw();
  }
});

overlay.addEventListener("pointercancel", () => { state.drag = null; state.path = []; redraw(false); });
overlay.addEventListener("pointerleave", () => { state.hover = -1; byId("tip").hidden = true; redraw(false); });
overlay.addEventListener("dblclick", (event) => { zoom(current(), 2, ...place(event)); redraw(); });
overlay.addEventListener("wheel", (event) => {
  event.preventDefault();
  const lines = event.deltaMode === 1 ? 33 : 1;
  zoom(current(), Math.exp(-event.deltaY * lines * 0.0016), ...place(event));
  redraw();
}, { passive: false });

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
  Enter: () => { if (state.hover >= 0) choose(state.hover); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
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
button("pictures", () => {
  state.pictures = !state.pictures;
  byId("pictures").setAttribute("aria-pressed", String(state.pictures));
  redraw();
});
button("clear", clearSelection);
button("select-shown", () => { current().selected.set(current().shown); showSelection(current()); redraw(); });
button("export", () => download("selection.csv", selectionCsv(current())));
button("classes-all", () => { current().hiddenClasses.clear(); refilter(); showFilters(current()); });
button("classes-none", () => { current().classes.names.forEach((_, k) => current().hiddenClasses.add(k)); refilter(); showFilters(current()); });
for (const item of document.querySelectorAll("[data-mode]")) item.addEventListener("click", () => setMode(item.dataset.mode));
byId("search").addEventListener("input", (event) => { current().query = event.target.value; refilter(); });
byId("class-search").addEventListener("input", findClass);
byId("colour").addEventListener("change", (event) => { state.colourBy = event.target.value; recolour(); });
byId("size").addEventListener("input", (event) => { state.size = Number(event.target.value); redraw(); });
byId("axes").addEventListener("change", (event) => { current().axes = [...event.target.value].map(Number); current().ranks = null; placePoints(current()); redraw(); });
byId("tabs").addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  openMap((state.tab + by + tabs.length) % tabs.length);
  byId("tabs").children[state.tab].focus();
});
dark.addEventListener("change", recolour);

new ResizeObserver(() => {
  const before = [points.width, points.height];
  resize();
  for (const tab of tabs) {
    if (tab.view) [tab.view.x, tab.view.y] = [tab.view.x + (points.width - before[0]) / 2, tab.view.y + (points.height - before[1]) / 2];
  }
  redraw();
}).observe(overlay.parentElement);

byId("heading").textContent = content.heading;
tabs.forEach((tab, k) => {
  const item = make("button", { type: "button", textContent: tab.title, onclick: () => openMap(k) });
  item.setAttribute("role", "tab");
  byId("tabs").append(item);
});
byId("tabs").hidden = tabs.length < 2;
byId("pictures").parentElement.hidden = !sheets.length;
resize();
openMap(0);
sheetsReady.then(() => { showRecord(current()); redraw(); });

// For programs that drive the page: where a point stands, in CSS pixels of the window.
window.explorer = {
  tabs, state,
  screenOf(i) {
    const box = overlay.getBoundingClientRect(), [x, y] = screen(current(), i);
    return [box.left + x / ratio, box.top + y / ratio];
  },
};
