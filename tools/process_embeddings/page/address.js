// The view in the address, to be sent or kept, and as a picture.

const encodeSet = (hidden) => [...hidden].sort((a, b) => a - b).join(".");
const decodeSet = (text, total) => new Set(text.split(".").filter(Boolean).map(Number).filter((k) => Number.isInteger(k) && k >= 0 && k < total));

function addressOf(tab) {
  const words = new URLSearchParams(), { view } = tab, n = tab.classes.names.length;
  if (state.tab) words.set("map", state.tab + 1);
  if (view) {
    const [x, y] = [(points.width / 2 - view.x) / view.scale, (points.height / 2 - view.y) / view.scale];
    words.set("view", [x, -y, view.scale / view.whole].map((v) => Number(v.toPrecision(6))).join(","));
  }
  words.set("colour", state.colourBy);
  if (tab.query) words.set("search", tab.query);
  if (tab.hiddenSets.size) words.set("hidden_sets", encodeSet(tab.hiddenSets));
  if (tab.hiddenClasses.size > n / 2) words.set("classes", encodeSet([...Array(n).keys()].filter((k) => !tab.hiddenClasses.has(k))));
  else if (tab.hiddenClasses.size) words.set("hidden_classes", encodeSet(tab.hiddenClasses));
  for (const [name, [low, high]] of tab.ranges) words.append("range", `${low},${high},${name}`);
  if (tab.chosen >= 0) words.set("point", tab.chosen);
  if (tab.dimensions > 2) words.set("axes", tab.axes.join(""));
  if (state.size !== 1) words.set("size", state.size);
  if (!state.labels) words.set("labels", 0);
  if (state.pictures) words.set("pictures", 1);
  if (!byId("table-panel").hidden) words.set("table", 1);
  return `#${words}`;
}

let addressDue = 0, addressWritten = "";

// Soon, and once for many changes. Where the browser lets no page change its address, nothing is lost.
function noteAddress() {
  clearTimeout(addressDue);
  addressDue = setTimeout(() => {
    addressWritten = addressOf(current());
    try {
      history.replaceState(null, "", addressWritten);
    } catch { /* a page in a sandbox */ }
  }, 250);
}

// Set the state from the address; what does not fit this page is left as it is.
function readAddress() {
  const words = new URLSearchParams(location.hash.slice(1));
  if (![...words].length) return openMap(0);
  state.tab = Math.max(0, Math.min(tabs.length - 1, Number(words.get("map") ?? 1) - 1)) || 0;
  const tab = current(), n = tab.classes.names.length, point = Number(words.get("point") ?? -1);
  if (words.get("colour")) state.colourBy = words.get("colour");
  state.size = Math.max(0.4, Math.min(3, Number(words.get("size") ?? 1))) || 1;
  state.labels = words.get("labels") !== "0";
  state.pictures = words.get("pictures") === "1" && sheets.length > 0;
  tab.query = words.get("search") ?? "";
  tab.hiddenSets = decodeSet(words.get("hidden_sets") ?? "", tab.sets.length);
  tab.hiddenClasses = decodeSet(words.get("hidden_classes") ?? "", n);
  if (words.has("classes")) {
    const shown = decodeSet(words.get("classes"), n);
    tab.hiddenClasses = new Set([...Array(n).keys()].filter((k) => !shown.has(k)));
  }
  tab.ranges = new Map(words.getAll("range").map((text) => text.match(/^([^,]*),([^,]*),(.*)$/s))
    .filter((parts) => parts && tab.columns.some(({ name, values }) => values && name === parts[3]))
    .map(([, low, high, name]) => [name, [Number(low), Number(high)]]));
  if (tab.dimensions > 2 && /^(01|02|12)$/.test(words.get("axes") ?? "")) {
    tab.axes = [...words.get("axes")].map(Number);
    placePoints(tab);
  }
  state.key = Number.isInteger(point) && point >= 0 && point < tab.count && tab.same ? tab.same[point] : -1;
  tab.chosen = Number.isInteger(point) && point < tab.count ? point : -1;
  openMap(state.tab);
  showView(tab, (words.get("view") ?? "").split(",").map(Number));
  toggleTable(words.get("table") === "1");
}

function showView(tab, [x, y, near]) {
  if (![x, y, near].every(Number.isFinite) || near <= 0) return;
  fit(tab);
  tab.view.scale = Math.max(0.25, Math.min(4000, near)) * tab.view.whole;
  [tab.view.x, tab.view.y] = [points.width / 2 - x * tab.view.scale, points.height / 2 + y * tab.view.scale];
  redraw();
}

// The map as it is on the screen, with its title.
function savePicture() {
  draw();
  const canvas = make("canvas", { width: points.width, height: points.height }), brush = canvas.getContext("2d");
  brush.drawImage(points, 0, 0);
  brush.drawImage(overlay, 0, 0);
  brush.font = `600 ${14 * ratio}px system-ui, "DejaVu Sans", sans-serif`;
  brush.fillStyle = css("--ink");
  brush.fillText(current().title, 12 * ratio, 24 * ratio);
  canvas.toBlob((blob) => download("map.png", blob), "image/png");
}
