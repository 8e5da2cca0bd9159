// The table below the map: the selected points, or all that are shown, sorted by any column.

const PAGE = 100; // rows added at once
const table = { sort: null, down: false, rows: PAGE };

function tableColumns(tab) {
  const own = [{ name: "class", at: (i) => className(tab, i) }];
  if (tab.sets.length > 1) own.unshift({ name: "set", at: (i) => tab.sets[tab.set[i]] });
  return [...own, ...tab.columns.filter((column) => column.kind !== "constant")];
}

function tableRows(tab) {
  const rows = [], from = tab.numSelected ? tab.selected : tab.shown;
  for (let i = 0; i < tab.count; i++) if (from[i]) rows.push(i);
  const column = tableColumns(tab).find(({ name }) => name === table.sort);
  if (!column) return rows;
  const { values, at } = column, missing = (i) => (values ? Number.isNaN(values[i]) : at(i) === "");
  const before = values ? (i, j) => values[i] - values[j] : (i, j) => at(i).localeCompare(at(j), "en", { numeric: true });
  return rows.sort((i, j) => missing(i) - missing(j) || (table.down ? -1 : 1) * before(i, j) || i - j); // missing ones last
}

function showTable(tab) {
  const panel = byId("table-panel");
  if (panel.hidden) return;
  const columns = tableColumns(tab), rows = tableRows(tab);
  byId("table-count").textContent = `${rows.length.toLocaleString("en")} ${tab.numSelected ? "selected" : "shown"}`;
  const head = make("tr", {}, ...columns.map(({ name }) => sortHead(tab, name)));
  const body = rows.slice(0, table.rows).map((i) => make("tr", { className: i === tab.chosen ? "chosen" : "", onclick: () => choose(i, true) },
    ...columns.map(({ at }, k) => make("td", {}, k ? at(i) : make("button", { type: "button", className: "link", textContent: at(i) })))));
  byId("table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...body));
  byId("table-more").hidden = rows.length <= table.rows;
}

function sortHead(tab, name) {
  const sorted = table.sort === name, arrow = sorted ? (table.down ? " ▼" : " ▲") : "";
  const cell = make("th", { scope: "col" }, make("button", { type: "button", className: "link", textContent: name + arrow, onclick: () => {
    table.down = sorted && !table.down;
    table.sort = name;
    showTable(tab);
  } }));
  cell.setAttribute("aria-sort", sorted ? (table.down ? "descending" : "ascending") : "none");
  return cell;
}

function toggleTable(open = byId("table-panel").hidden) {
  byId("table-panel").hidden = !open;
  byId("table-open").setAttribute("aria-pressed", String(open));
  table.rows = PAGE;
  showTable(current());
}
