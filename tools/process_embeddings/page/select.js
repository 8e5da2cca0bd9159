// Which points are meant: by place, by filter, by lasso; and the selection as a file.

// The shown point nearest to a place on the screen, within `reach` pixels, or -1.
function pointAt(tab, px, py, reach) {
  const { scale, x, y } = tab.view, { side, start, list } = tab.grid, { x0, y0, width, height } = tab.bounds;
  const cx = (px - x) / scale, cy = (py - y) / scale, r = reach / scale;
  const column = (v) => Math.max(0, Math.min(side - 1, Math.floor(((v - x0) / width) * side)));
  const row = (v) => Math.max(0, Math.min(side - 1, Math.floor(((v - y0) / height) * side)));
  let best = -1, least = r * r;
  for (let v = row(cy - r); v <= row(cy + r); v++) {
    for (let n = start[v * side + column(cx - r)]; n < start[v * side + column(cx + r) + 1]; n++) {
      const i = list[n], d = (tab.x[i] - cx) ** 2 + (tab.y[i] - cy) ** 2;
      if (d <= least && tab.shown[i]) [best, least] = [i, d];
    }
  }
  return best;
}

// Which points are shown; and for classes and sets how many of each pass all other filters.
function applyFilter(tab) {
  const wanted = tab.query.toLowerCase().split(/\s+/).filter(Boolean), ranges = activeRanges(tab);
  tab.classCounts = new Uint32Array(tab.classes.names.length);
  tab.setCounts = new Uint32Array(tab.sets.length);
  tab.numShown = 0;
  for (let i = 0; i < tab.count; i++) {
    const passes = ranges.every(([values, low, high]) => values[i] >= low && values[i] <= high)
      && (!wanted.length || wanted.every((word) => searchText(tab, i).includes(word)));
    const ofClass = passes && !tab.hiddenClasses.has(tab.classes.of[i]), ofSet = passes && !tab.hiddenSets.has(tab.set[i]);
    if (ofSet) tab.classCounts[tab.classes.of[i]]++;
    if (ofClass) tab.setCounts[tab.set[i]]++;
    tab.shown[i] = ofClass && ofSet ? 1 : 0;
    tab.numShown += tab.shown[i];
  }
  tab.labels = null;
}

// Even-odd rule.
function inside(path, px, py) {
  let odd = false;
  for (let k = 0, j = path.length - 1; k < path.length; j = k++) {
    const [ax, ay] = path[k], [bx, by] = path[j];
    if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

// Select the shown points within a path on the screen; `add` keeps what is selected already.
function selectWithin(tab, path, add) {
  if (!add) tab.selected.fill(0);
  for (let i = 0; i < tab.count; i++) if (tab.shown[i] && inside(path, ...screen(tab, i))) tab.selected[i] = 1;
}

function selectedIndices(tab) {
  const found = [];
  for (let i = 0; i < tab.count; i++) if (tab.selected[i]) found.push(i);
  return found;
}

function selectionCsv(tab) {
  const number = /^([-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan))$/i;  // as in common/formats/tables.py
  const plain = (value) => (/^'*[=+\-@\t\r]/.test(value) && !number.test(value) ? `'${value}` : value);
  const quote = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const axes = ["umap_x", "umap_y", "umap_z"].slice(0, tab.dimensions);
  const lines = [["set", "class", ...tab.columns.map((column) => column.name), ...axes]];
  for (const i of selectedIndices(tab)) {
    const place = axes.map((_, axis) => floatText(tab.points[i * tab.dimensions + axis]));
    lines.push([tab.sets[tab.set[i]], className(tab, i), ...tab.columns.map((column) => column.at(i)), ...place]);
  }
  return lines.map((line) => line.map((value) => quote(plain(value))).join(",")).join("\n") + "\n";
}

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
