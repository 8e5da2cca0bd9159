// Drawing: all points by blending small discs into one pixel buffer (100,000 in a few milliseconds, on any machine),
// and on a second canvas what changes with the mouse.

const points = document.getElementById("points"), overlay = document.getElementById("overlay");
const pen = points.getContext("2d"), ink = overlay.getContext("2d");
const MARGIN = 46; // free pixels around the map when it is fitted
let toolsHeight = 70; // and above it
let buffer, words, ratio = 1; // the pixels, as bytes and as 32-bit words

// Fit the canvases to their box; returns whether their size changed, and so they are empty.
function resize() {
  const box = overlay.parentElement.getBoundingClientRect();
  ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [wide, high] = [box.width, box.height].map((side) => Math.max(1, Math.round(side * ratio)));
  if (buffer && points.width === wide && points.height === high) return false;
  for (const canvas of [points, overlay]) [canvas.width, canvas.height] = [wide, high];
  buffer = pen.createImageData(wide, high);
  words = new Uint32Array(buffer.data.buffer);
  return true;
}

// view: screen pixel = coordinate * scale + offset. What is shown lies below the toolbar and above the line of keys.
function fit(tab) {
  toolsHeight = byId("tools").offsetHeight + 26;
  const whole = scaleFor(tab.bounds), box = shownBounds(tab) ?? tab.bounds, scale = Math.min(scaleFor(box), whole * 400);
  const [middleX, middleY] = [points.width / 2, (points.height + (toolsHeight - MARGIN) * ratio) / 2];
  tab.view = { scale, whole, x: middleX - (box.x0 + box.width / 2) * scale, y: middleY - (box.y0 + box.height / 2) * scale };
  tab.fitted = { ...tab.view };
}

const isFitted = ({ view, fitted }) => view.scale === fitted.scale && view.x === fitted.x && view.y === fitted.y;

function scaleFor({ width, height }) {
  const [wide, high] = [points.width - 2 * MARGIN * ratio, points.height - (toolsHeight + MARGIN) * ratio];
  return Math.max(1e-9, Math.min(wide / width, high / height));
}

function shownBounds(tab) {
  let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < tab.count; i++) {
    if (!tab.shown[i]) continue;
    [x0, x1] = [Math.min(x0, tab.x[i]), Math.max(x1, tab.x[i])];
    [y0, y1] = [Math.min(y0, tab.y[i]), Math.max(y1, tab.y[i])];
  }
  return x0 > x1 ? null : { x0, y0, width: Math.max(x1 - x0, 1e-6), height: Math.max(y1 - y0, 1e-6) };
}

function zoom(tab, factor, x = points.width / 2, y = points.height / 2) {
  const view = tab.view, scale = Math.max(view.whole / 4, Math.min(view.whole * 4000, view.scale * factor));
  const real = scale / view.scale;
  view.x = x - (x - view.x) * real;
  view.y = y - (y - view.y) * real;
  view.scale = scale;
}

function radius(tab) {
  const base = Math.max(1.15, Math.min(4.2, 90 / Math.sqrt(tab.count)));
  return base * ratio * state.size * Math.min(2.2, (tab.view.scale / tab.view.whole) ** 0.22);
}

// Discs of one radius at 4 x 4 places within a pixel, as lists of (offset, coverage 0 to 256).
function discs(r) {
  const reach = Math.ceil(r + 1), made = [];
  for (let sub = 0; sub < 16; sub++) {
    const cx = ((sub & 3) + 0.5) / 4, cy = ((sub >> 2) + 0.5) / 4, list = [];
    for (let dy = -reach; dy <= reach; dy++) {
      for (let dx = -reach; dx <= reach; dx++) {
        const cover = Math.min(1, Math.max(0, r + 0.5 - Math.hypot(dx + 0.5 - cx, dy + 0.5 - cy)));
        if (cover > 0.03) list.push(dy * points.width + dx, Math.round(cover * state.alpha * 256));
      }
    }
    made.push(Int32Array.from(list));
  }
  return { reach, made };
}

function blend(list, at, colour) {
  const r = colour & 255, g = (colour >> 8) & 255, b = (colour >> 16) & 255;
  for (let k = 0; k < list.length; k += 2) {
    const cover = list[k + 1], place = at + list[k], under = words[place], keep = 256 - cover;
    words[place] = 0xff000000 | ((((under >> 16) & 255) * keep + b * cover) >> 8 << 16)
      | ((((under >> 8) & 255) * keep + g * cover) >> 8 << 8) | (((under & 255) * keep + r * cover) >> 8);
  }
}

function drawPoints(tab) {
  const [r, g, b] = rgb(css("--plot")), [gr, gg, gb] = rgb(css("--ghost"));
  words.fill(0xff000000 | (b << 16) | (g << 8) | r);
  state.alpha = tab.count > 20000 ? 0.75 : 0.88;
  const big = discs(radius(tab)), small = discs(Math.max(0.8 * ratio, radius(tab) * 0.6));
  const ghost = (gb << 16) | (gg << 8) | gr, anyHidden = tab.numShown < tab.count;
  if (anyHidden) stamp(tab, small, 0, ghost);
  if (!state.pictures) drawShown(tab, big, [r, g, b]);
  pen.putImageData(buffer, 0, 0);
}

// All in their colours, or the selected ones only and the others faded into the ground.
function drawShown(tab, disc, ground) {
  const colours = tab.colours;
  if (!tab.numSelected) return stamp(tab, disc, 1, -1);
  const fade = (word) => ground.reduce((all, under, c) => all | (Math.round(under * 0.78 + ((word >> (8 * c)) & 255) * 0.22) << (8 * c)), 0);
  tab.colours = colours.map((word, i) => (tab.selected[i] ? word : fade(word)));
  stamp(tab, disc, 1, -1);
  tab.colours = colours;
}

function stamp(tab, { reach, made }, shown, fixed) {
  const { scale, x, y } = tab.view, width = points.width, height = points.height;
  for (let n = 0; n < tab.count; n++) {
    const i = tab.order[n];
    if (tab.shown[i] !== shown) continue;
    const px = tab.x[i] * scale + x, py = tab.y[i] * scale + y;
    if (px < reach || py < reach || px >= width - reach - 1 || py >= height - reach - 1) continue;
    const ix = Math.floor(px), iy = Math.floor(py);
    blend(made[Math.floor((px - ix) * 4) + 4 * Math.floor((py - iy) * 4)], iy * width + ix, fixed < 0 ? tab.colours[i] : fixed);
  }
}

const screen = (tab, i) => [tab.x[i] * tab.view.scale + tab.view.x, tab.y[i] * tab.view.scale + tab.view.y];

function ring(tab, i, size, colour, width) {
  const [x, y] = screen(tab, i);
  ink.beginPath();
  ink.arc(x, y, size, 0, 7);
  ink.lineWidth = width * ratio;
  ink.strokeStyle = colour;
  ink.stroke();
}

// One picture for each cell of a grid that is fixed to the map, so that pictures do not jump when it is moved.
function drawPictures(tab) {
  const size = Math.round(Math.min(64, 30 * state.size * Math.min(2.2, (tab.view.scale / tab.view.whole) ** 0.3)) * ratio), taken = new Set();
  ink.imageSmoothingEnabled = false;
  for (let n = 0; n < tab.count; n++) {
    const i = tab.order[n];
    if (!tab.shown[i] || tab.cell[i] < 0) continue;
    const sx = tab.x[i] * tab.view.scale, sy = tab.y[i] * tab.view.scale;
    const x = sx + tab.view.x, y = sy + tab.view.y;
    if (x < -size || y < -size || x > overlay.width + size || y > overlay.height + size) continue;
    const column = Math.floor(sx / size), row = Math.floor(sy / size), key = column * 1e6 + row;
    if (taken.has(key)) continue;
    taken.add(key);
    const left = Math.round(column * size + tab.view.x), top = Math.round(row * size + tab.view.y), edge = Math.max(1, Math.round(1.5 * ratio));
    ink.fillStyle = cssColour(tab.colours[i]);
    ink.fillRect(left + 1, top + 1, size - 2, size - 2);
    drawThumbnail(ink, tab, i, left + 1 + edge, top + 1 + edge, size - 2 - 2 * edge);
  }
}

function drawOverlay(tab) {
  ink.clearRect(0, 0, overlay.width, overlay.height);
  if (state.pictures) drawPictures(tab);
  if (state.labels) drawLabels(tab);
  const mark = css("--mark"), r = radius(tab);
  if (tab.chosen >= 0) {
    const [x, y] = screen(tab, tab.chosen);
    ink.lineWidth = ratio;
    ink.strokeStyle = mark;
    for (let k = 0; k < tab.k; k++) {
      const other = tab.neighbours[tab.chosen * tab.k + k];
      ink.globalAlpha = 0.55;
      ink.beginPath();
      ink.moveTo(x, y);
      ink.lineTo(...screen(tab, other));
      ink.stroke();
      ink.globalAlpha = 1;
      ring(tab, other, r + 2 * ratio, mark, 1.2);
    }
    ring(tab, tab.chosen, r + 4 * ratio, mark, 2.5);
  }
  if (state.hover >= 0) ring(tab, state.hover, r + 3 * ratio, css("--accent"), 2);
  if (state.path.length > 1) {
    ink.beginPath();
    state.path.forEach(([px, py], k) => (k ? ink.lineTo(px, py) : ink.moveTo(px, py)));
    ink.closePath();
    ink.globalAlpha = 0.12;
    ink.fillStyle = css("--accent");
    ink.fill();
    ink.globalAlpha = 1;
    ink.lineWidth = 1.5 * ratio;
    ink.strokeStyle = css("--accent");
    ink.stroke();
  }
}
