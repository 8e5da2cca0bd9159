// Names of classes on the map: each at the place where most of its shown points are.

const SIDE = 32; // cells of the grid in which the densest place is sought
const MOST_LABELS = 80;

// Of each class with shown points {k, x, y, count}, most points first; made again when a filter changes.
function labelPlaces(tab) {
  if (tab.labels) return tab.labels;
  const { x0, y0, width, height } = tab.bounds, cells = new Map(), best = new Map(), counts = new Map();
  const cellOf = (i) => Math.min(SIDE - 1, Math.floor(((tab.x[i] - x0) / width) * SIDE)) + SIDE * Math.min(SIDE - 1, Math.floor(((tab.y[i] - y0) / height) * SIDE));
  const shown = [];
  for (let i = 0; i < tab.count; i++) if (tab.shown[i]) shown.push(i);
  for (const i of shown) {
    const k = tab.classes.of[i], key = k * SIDE * SIDE + cellOf(i), count = (cells.get(key) ?? 0) + 1;
    cells.set(key, count);
    counts.set(k, (counts.get(k) ?? 0) + 1);
    if (count > (cells.get(best.get(k)) ?? 0)) best.set(k, key);
  }
  const sums = new Map();
  for (const i of shown) {
    const k = tab.classes.of[i], cell = cellOf(i), centre = best.get(k) % (SIDE * SIDE);
    if (Math.abs((cell % SIDE) - (centre % SIDE)) > 1 || Math.abs(Math.floor(cell / SIDE) - Math.floor(centre / SIDE)) > 1) continue;
    const sum = sums.get(k) ?? [0, 0, 0];
    sums.set(k, [sum[0] + tab.x[i], sum[1] + tab.y[i], sum[2] + 1]);
  }
  tab.labels = [...sums].map(([k, [x, y, n]]) => ({ k, x: x / n, y: y / n, count: counts.get(k) }));
  tab.labels.sort((a, b) => b.count - a.count || a.k - b.k);
  return tab.labels;
}

// As many names as have room; nearer, more of them.
function drawLabels(tab) {
  state.labelled = [];
  if (tab.classes.names.length < 2) return;
  const taken = [], size = 12.5 * ratio;
  ink.font = `600 ${size}px system-ui, "DejaVu Sans", sans-serif`;
  [ink.textAlign, ink.textBaseline, ink.lineJoin, ink.lineWidth] = ["center", "middle", "round", 3.5 * ratio];
  [ink.strokeStyle, ink.fillStyle] = [css("--plot"), css("--ink")];
  for (const { k, x, y } of labelPlaces(tab)) {
    if (state.labelled.length >= MOST_LABELS) break;
    const px = x * tab.view.scale + tab.view.x, py = y * tab.view.scale + tab.view.y;
    if (px < 0 || py < 0 || px > overlay.width || py > overlay.height) continue;
    const name = short(tab.classes.names[k]), half = ink.measureText(name).width / 2 + 3 * ratio;
    const box = [px - half, py - size * 0.65, px + half, py + size * 0.65];
    if (taken.some((other) => box[0] < other[2] && other[0] < box[2] && box[1] < other[3] && other[1] < box[3])) continue;
    taken.push(box);
    ink.strokeText(name, px, py);
    ink.fillText(name, px, py);
    state.labelled.push(k);
  }
}

// The first of the synonyms in a class name, at most 24 characters.
function short(name) {
  const first = name.includes("(") ? name : name.split(",")[0];
  return first.length > 24 ? `${first.slice(0, 23)}…` : first;
}
