// Colours: of sets, classes, and any column of the records.

const dark = matchMedia("(prefers-color-scheme: dark)");
const LIGHT = ["#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#b58105", "#0b8a8f", "#c2255c", "#5c677d"];
const DARK = ["#6cb2ff", "#ff9258", "#69d17d", "#d892ef", "#e8bd4b", "#4fd0d5", "#ff7fa8", "#a9b4c6"];
const RAMP = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"]; // viridis
const NONE = [128, 128, 128]; // where a value is missing

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const word32 = ([r, g, b]) => (b << 16) | (g << 8) | r;
const cssColour = (word) => `rgb(${word & 255} ${(word >> 8) & 255} ${(word >> 16) & 255})`;

// Colour number k of n for sets, classes and words: a fixed palette for few, evenly turned hues in three shades for many.
function colourOf(k, n) {
  const palette = dark.matches ? DARK : LIGHT;
  if (n <= palette.length) return rgb(palette[k]);
  const hue = (k * 137.508) % 360, light = (dark.matches ? 0.66 : 0.48) + 0.09 * ((k % 3) - 1);
  const channel = (m) => {
    const t = (m + hue / 30) % 12;
    return Math.round(255 * (light - 0.68 * Math.min(light, 1 - light) * Math.max(-1, Math.min(t - 3, 9 - t, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

function rampColour(t) {
  const at = (dark.matches ? 0.15 + 0.85 * t : 0.93 * t) * (RAMP.length - 1);
  const low = Math.max(0, Math.min(RAMP.length - 2, Math.floor(at))), [a, b] = [rgb(RAMP[low]), rgb(RAMP[low + 1])];
  return a.map((value, c) => Math.round(value + (b[c] - value) * Math.max(0, Math.min(1, at - low))));
}

// What the points are coloured by: {names, of} for sets, classes and words, {values} for numbers.
function colouring(tab) {
  if (state.colourBy === "set") return { names: tab.sets, of: tab.set };
  if (state.colourBy === "class") return tab.classes;
  return tab.columns.find((column) => column.name === state.colourBy);
}

// The colour of each point as a 32-bit word, made when the colouring changes and not when the view does.
function paint(tab) {
  const by = colouring(tab), colours = new Uint32Array(tab.count);
  if (by.values) {
    const [low, high] = span(by.values);
    for (let i = 0; i < tab.count; i++) {
      const t = Math.max(0, Math.min(1, (by.values[i] - low) / (high - low || 1)));
      colours[i] = word32(Number.isNaN(t) ? NONE : rampColour(t));
    }
  } else {
    const list = by.names.map((name, k) => word32(name === "" ? NONE : colourOf(k, by.names.length)));
    for (let i = 0; i < tab.count; i++) colours[i] = list[by.of[i]];
  }
  tab.colours = colours;
}

// The 1st and 99th percentile: a few far values shall not take all the colours.
function span(values) {
  const sorted = Float64Array.from(values).filter((v) => !Number.isNaN(v)).sort();
  return [sorted[Math.floor(0.01 * (sorted.length - 1))], sorted[Math.ceil(0.99 * (sorted.length - 1))]];
}
