// Filters by range: a histogram of a column, in which a stretch is dragged or typed.

const BARS = 40;

// [values, low, high] of the ranges that leave something out; a missing value is in none of them.
function activeRanges(tab) {
  return [...tab.ranges].filter(([, [low, high]]) => low !== -Infinity || high !== Infinity)
    .map(([name, [low, high]]) => [tab.columns.find((column) => column.name === name).values, low, high]);
}

function showRanges(tab) {
  const free = tab.columns.filter((column) => column.values && !tab.ranges.has(column.name));
  byId("range-add").replaceChildren(make("option", { value: "", textContent: "filter by range" }),
    ...free.map(({ name }) => make("option", { value: name, textContent: name })));
  byId("range-add").hidden = !free.length;
  byId("ranges").replaceChildren(...[...tab.ranges.keys()].map((name) => rangeLine(tab, name)));
  drawHistograms(tab);
}

function rangeLine(tab, name) {
  const { values } = tab.columns.find((column) => column.name === name), line = make("div", { className: "range" });
  const [least, most] = values.reduce(([a, b], v) => [v < a ? v : a, v > b ? v : b], [Infinity, -Infinity]);
  const canvas = make("canvas", { width: 300, height: 44 });
  canvas.setAttribute("aria-hidden", "true");
  const set = (low, high) => {
    tab.ranges.set(name, [low, high]);
    refilter();
    [from.value, to.value] = [low === -Infinity ? "" : low, high === Infinity ? "" : high];
  };
  const field = (what, value) => {
    const input = make("input", { type: "number", step: "any", placeholder: String(what === "from" ? least : most), value: Number.isFinite(value) ? value : "" });
    input.setAttribute("aria-label", `${name} ${what}`);
    input.onchange = () => set(from.value === "" ? -Infinity : Number(from.value), to.value === "" ? Infinity : Number(to.value));
    return input;
  };
  const [from, to] = [field("from", tab.ranges.get(name)[0]), field("to", tab.ranges.get(name)[1])];
  const remove = make("button", { type: "button", className: "only", textContent: "remove", onclick: () => { tab.ranges.delete(name); showRanges(tab); refilter(); } });
  remove.setAttribute("aria-label", `remove the range of ${name}`);
  line.append(make("div", { className: "row" }, make("span", { className: "name", textContent: name }), remove), canvas,
    make("div", { className: "row" }, from, make("span", { className: "soft", textContent: "to" }), to));
  Object.assign(line, { histogram: { values, least, most, canvas }, column: name });
  dragRange(canvas, least, most, set);
  return line;
}

// A stretch dragged in the histogram is the range, open where it reaches an end; a click shows all again.
function dragRange(canvas, least, most, set) {
  let start = null;
  const value = (event) => {
    const box = canvas.getBoundingClientRect();
    return least + Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (most - least);
  };
  canvas.addEventListener("pointerdown", (event) => { start = value(event); canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointerup", (event) => {
    const end = value(event);
    if (start === null) return;
    const slack = (most - least) / 100, [low, high] = [Math.min(start, end), Math.max(start, end)];
    if (high - low < slack) set(-Infinity, Infinity);
    else set(low < least + slack ? -Infinity : Number(low.toPrecision(4)), high > most - slack ? Infinity : Number(high.toPrecision(4)));
    start = null;
  });
}

// All values in grey, those of the points shown in colour.
function drawHistograms(tab) {
  for (const { histogram: { values, least, most, canvas }, column } of byId("ranges").children) {
    const brush = canvas.getContext("2d"), all = new Uint32Array(BARS), shown = new Uint32Array(BARS), wide = canvas.width / BARS;
    for (let i = 0; i < values.length; i++) {
      if (Number.isNaN(values[i])) continue;
      const bar = Math.min(BARS - 1, Math.floor(((values[i] - least) / (most - least || 1)) * BARS));
      all[bar]++;
      shown[bar] += tab.shown[i];
    }
    const top = Math.max(1, ...all), [low, high] = tab.ranges.get(column);
    brush.clearRect(0, 0, canvas.width, canvas.height);
    for (const [counts, colour] of [[all, css("--line")], [shown, css("--accent")]]) {
      brush.fillStyle = colour;
      counts.forEach((count, bar) => {
        const tall = count ? Math.max(1, (count / top) * canvas.height) : 0;
        brush.fillRect(bar * wide, canvas.height - tall, wide - 1, tall);
      });
    }
    brush.fillStyle = css("--ink");
    for (const edge of [low, high]) {
      if (Number.isFinite(edge)) brush.fillRect(((edge - least) / (most - least || 1)) * (canvas.width - 2), 0, 2, canvas.height);
    }
  }
}
