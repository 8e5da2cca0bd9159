// What the page holds, unpacked: typed arrays, columns, thumbnails.

const fallback = document.getElementById("fallback");
document.body.append(document.getElementById("page").content.cloneNode(true));
fallback.hidden = true;

let content, tabs = [], sheets = [], sheetsReady;

// The data are gzipped JSON, in base64.
async function unpack() {
  const packed = bytes(document.getElementById("data").textContent.trim());
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  content = JSON.parse(await new Response(plain).text());
  tabs = content.tabs.map(openTab);
  sheets = content.atlas.sheets.map((uri) => Object.assign(new Image(), { src: uri }));
  sheetsReady = Promise.all(sheets.map((image) => image.decode()));
}

function bytes(text) {
  const raw = atob(text), array = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) array[i] = raw.charCodeAt(i);
  return array.buffer;
}

// A column as {name, at(i) -> its very text}; of numbers also `values`, of words also `names` and `of`, as for classes.
function openColumn(column) {
  if (column.kind === "constant") return { ...column, at: () => column.value };
  if (column.kind === "number") {
    const values = new Float64Array(bytes(column.data)), show = column.whole ? String : pythonText;
    return { ...column, values, at: (i) => (Number.isNaN(values[i]) ? "" : show(values[i])) };
  }
  const index = column.index ? new Uint32Array(bytes(column.index)) : Uint32Array.from(column.words, (_, k) => k);
  const ofWords = column.values && new Float64Array(bytes(column.values));
  return { ...column, names: column.words, of: index, at: (i) => column.words[index[i]],
    values: ofWords && Float64Array.from(index, (k) => ofWords[k]) };
}

// A float as Python, and so the table, writes it: 80.0, 1e-05.
function pythonText(value) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, power] = value.toExponential().split("e");
    return `${digits}e${power[0]}${power.slice(1).padStart(2, "0")}`;
  }
  return (Object.is(value, -0) ? "-0" : String(value)) + (Number.isInteger(value) ? ".0" : "");
}

// A float32 by the fewest digits that name it, as the table has it.
function floatText(value) {
  let digits = 6;
  while (digits < 9 && Math.fround(Number(value.toPrecision(digits))) !== value) digits++;
  return pythonText(Number(value.toPrecision(digits)));
}

function openTab(raw) {
  const tab = {
    title: raw.title, count: raw.count, dimensions: raw.dimensions, sets: raw.sets, k: raw.k, numbers: raw.numbers, notes: raw.notes, near: raw.near,
    points: new Float32Array(bytes(raw.points)), set: new Uint16Array(bytes(raw.set)), cell: new Int32Array(bytes(raw.cell)),
    neighbours: new Uint32Array(bytes(raw.neighbours)), distances: new Float32Array(bytes(raw.distances)),
    columns: raw.columns.map(openColumn), classes: { names: raw.classes, of: new Uint32Array(bytes(raw.class)) },
  };
  tab.same = raw.same ? new Uint32Array(bytes(raw.same)) : null; // of the sample on all maps
  tab.order = shuffled(tab.count); // drawn in this order, so that no set hides another
  tab.shown = new Uint8Array(tab.count).fill(1);
  tab.selected = new Uint8Array(tab.count);
  tab.numSelected = 0;
  tab.hiddenClasses = new Set();
  tab.hiddenSets = new Set();
  tab.ranges = new Map(); // column name -> [low, high]
  tab.query = "";
  tab.chosen = -1;
  tab.axes = [0, 1];
  tab.texts = null; // made at the first search
  placePoints(tab);
  return tab;
}

function shuffled(count) {
  const order = new Uint32Array(count).map((_, i) => i);
  let state = 12345;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    const j = Math.floor((state / 4294967296) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Screen-ready coordinates of the two axes shown (y upwards), their bounds, and a grid to find points by place.
function placePoints(tab) {
  const n = tab.count, d = tab.dimensions, [a, b] = tab.axes;
  tab.x = new Float32Array(n);
  tab.y = new Float32Array(n);
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < n; i++) {
    const x = (tab.x[i] = tab.points[i * d + a]), y = (tab.y[i] = -tab.points[i * d + b]);
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
    if (y < y0) y0 = y;
    if (y > y1) y1 = y;
  }
  tab.bounds = { x0, y0, width: Math.max(x1 - x0, 1e-6), height: Math.max(y1 - y0, 1e-6) };
  const side = Math.max(1, Math.min(512, Math.ceil(Math.sqrt(n / 4))));
  const start = new Uint32Array(side * side + 1), cell = new Uint32Array(n), list = new Uint32Array(n);
  for (let i = 0; i < n; i++) {
    const column = Math.min(side - 1, Math.floor(((tab.x[i] - x0) / tab.bounds.width) * side));
    const row = Math.min(side - 1, Math.floor(((tab.y[i] - y0) / tab.bounds.height) * side));
    start[(cell[i] = row * side + column) + 1]++;
  }
  for (let c = 0; c < side * side; c++) start[c + 1] += start[c];
  const next = start.slice();
  for (let i = 0; i < n; i++) list[next[cell[i]]++] = i;
  tab.grid = { side, start, list };
  if (tab.view) fit(tab);
}

// The words of a record, in small letters, for the search.
function searchText(tab, i) {
  if (!tab.texts) {
    tab.texts = new Array(tab.count);
    for (let j = 0; j < tab.count; j++) {
      let text = `${tab.classes.names[tab.classes.of[j]]}\n${tab.sets[tab.set[j]]}`;
      for (const column of tab.columns) if (column.kind !== "constant" && !column.computed) text += `\n${column.at(j)}`;
      tab.texts[j] = text.toLowerCase();
    }
  }
  return tab.texts[i];
}

// Draw a point's thumbnail into a rectangle; false when it has none.
function drawThumbnail(context, tab, i, x, y, size) {
  const cell = tab.cell[i], { cell: side, columns, perSheet } = content.atlas;
  if (cell < 0) return false;
  const image = sheets[Math.floor(cell / perSheet)], place = cell % perSheet;
  if (!image.complete) return false;
  context.drawImage(image, (place % columns) * side, Math.floor(place / columns) * side, side, side, x, y, size, size);
  return true;
}

function thumbnail(tab, i) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = content.atlas.cell || 1;
  return drawThumbnail(canvas.getContext("2d"), tab, i, 0, 0, canvas.width) ? canvas : null;
}
