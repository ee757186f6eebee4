// Sorts, filters and trims tables, draws the recall of chosen recipes, and keeps all that in the
// address. Without it every page shows the same numbers in the order of the board.
"use strict";
document.documentElement.classList.add("scripted");

const state = () => new URLSearchParams(location.hash.slice(1));

function remember(change) {
  const now = state();
  for (const [key, value] of Object.entries(change)) value ? now.set(key, value) : now.delete(key);
  const text = now.toString();
  history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
}

// So many rows are laid out until all are asked for: a browser takes long over a thousand.
const SHOWN = 200, order = new Intl.Collator().compare;

// A table: what its form and headers ask for is done to its rows, and told in the address.
function lively(grid) {
  const name = grid.dataset.grid, table = grid.querySelector("table"), form = grid.querySelector("form");
  if (!form) return;
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const rows = [...body.rows], sheet = document.head.appendChild(document.createElement("style"));
  const places = new Map(rows.map((row, place) => [row, place]));
  const texts = rows.map((row) => row.cells[0].textContent.toLowerCase());
  const boxes = [...form.querySelectorAll("[name=column]")], selects = [...form.querySelectorAll("select")];
  const count = form.querySelector(".count"), more = form.querySelector(".more");
  const known = new Map();
  let most = SHOWN, fitting = new Set(rows);

  const keys = (column) => {
    if (!known.has(column)) {
      const number = column >= 0 && heads[column].classList.contains("n");
      known.set(column, new Map(rows.map((row) => [row, column < 0 ? places.get(row) : key(row.cells[column], number)])));
    }
    return known.get(column);
  };
  const key = (cell, number) => {
    const value = cell.getAttribute("data-v");
    return value === null ? (number ? null : cell.textContent.trim().toLowerCase()) : +value;
  };

  function sort(column, down) {
    for (const head of heads) head.removeAttribute("aria-sort");
    const told = keys(column);
    if (column >= 0) heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const sign = down ? -1 : 1;
    const number = column < 0 || heads[column].classList.contains("n"), compare = number ? (a, b) => a - b : order;
    rows.sort((one, other) => {
      const a = told.get(one), b = told.get(other);
      if (a === null || b === null) return (a === null) - (b === null) || places.get(one) - places.get(other);
      return sign * compare(a, b) || places.get(one) - places.get(other);
    });
    show();
    body.replaceChildren(...rows); // ten times as fast as append, which looks for each row where it was
  }

  function show() {
    let shown = 0;
    for (const row of rows) {
      const there = fitting.has(row);
      if (row.hidden === (there && shown < most)) row.hidden = !row.hidden;
      shown += there;
    }
    const first = shown > most ? `the first ${most} of ` : "";
    count.textContent = shown === rows.length ? `${first}${shown} rows` : `${first}${shown} of ${rows.length} rows`;
    more.hidden = shown <= most;
  }

  function filter() {
    const words = form.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    fitting = new Set(rows.filter((row) => words.every((word) => texts[places.get(row)].includes(word)) &&
      selects.every((one) => !one.value || ` ${row.dataset[one.name]} `.includes(` ${one.value} `))));
    show();
  }

  function trim() {
    const off = boxes.filter((box) => !box.checked).map((box) => heads.findIndex((head) => head.dataset.name === box.value) + 1);
    sheet.textContent = off.map((n) => `#${CSS.escape(table.id)} tr > :nth-child(${n})`).join(",") + (off.length ? "{display:none}" : "");
  }

  const usual = (box) => heads.find((head) => head.dataset.name === box.value).dataset.hidden === undefined;

  function restore() {
    const now = state(), [by, way] = (now.get(`${name}.sort`) || "").split(".");
    form.q.value = now.get(`${name}.q`) || "";
    for (const one of selects) one.value = now.get(`${name}.${one.name}`) || "";
    const columns = now.get(`${name}.columns`);
    for (const box of boxes) box.checked = columns === null ? usual(box) : columns.split(".").includes(box.value);
    trim(); filter();
    const column = heads.findIndex((head) => head.dataset.name === by);
    if (column >= 0 || rows.some((row, n) => places.get(row) !== n)) sort(column, way === "down");
    else for (const head of heads) head.removeAttribute("aria-sort");
  }

  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const now = head.getAttribute("aria-sort"), number = head.classList.contains("n");
    const down = now ? now === "ascending" : number && head.dataset.name !== "rank" && head.dataset.name !== "each" && head.dataset.name !== "cost";
    sort(column, down);
    remember({ [`${name}.sort`]: `${head.dataset.name}.${down ? "down" : "up"}` });
  }));
  form.addEventListener("input", (event) => {
    if (event.target.name === "column") {
      trim();
      const same = boxes.every((box) => box.checked === usual(box));
      remember({ [`${name}.columns`]: same ? "" : boxes.filter((box) => box.checked).map((box) => box.value).join(".") || "none" });
    } else {
      filter();
      remember({ [`${name}.${event.target.name}`]: event.target.value });
    }
  });
  more.addEventListener("click", () => { most = Infinity; show(); });
  addEventListener("beforeprint", () => { most = Infinity; show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    remember(Object.fromEntries([...state().keys()].filter((one) => one.startsWith(`${name}.`)).map((one) => [one, ""])));
    restore();
  });
  addEventListener("hashchange", restore);
  restore();
}

// Recall from head to tail of the recipes that are chosen in the table, at most eight.
const MOST = 8, FORM = "http://www.w3.org/2000/svg";

function element(kind, told, text) {
  const made = document.createElementNS(FORM, kind);
  for (const [key, value] of Object.entries(told)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

function drawn(svg, lines) {
  for (const old of svg.querySelectorAll(".line, .key, .tick")) old.remove();
  const at = (key) => +svg.dataset[key], width = svg.viewBox.baseVal.width;
  const values = lines.flatMap(([, values]) => values.filter((value) => value !== null));
  const round = Math.floor(Math.min(...(values.length ? values : [0])) / 10) * 10, low = [90, 80, 60, 40, 0].find((one) => one <= Math.max(round, 0));
  const height = (value) => (at("foot") - ((value - low) / (100 - low)) * (at("foot") - at("top"))).toFixed(1);
  for (let tick = low; tick <= 100; tick += low < 50 ? 20 : low < 80 ? 10 : 5) {
    svg.append(element("path", { class: "grid tick", d: `M${at("left")} ${height(tick)}H${at("end")}` }),
      element("text", { class: "small tick", x: at("left") - 5, y: +height(tick) + 4, "text-anchor": "end" }, `${tick}`));
  }
  let x = at("left"), y = at("bottom") + 12;
  lines.forEach(([name, values], k) => {
    let pen = "M";
    const path = values.map((value, n) => {
      if (value === null) return "";
      const step = `${pen}${(at("left") + (n + 0.5) * at("space")).toFixed(1)} ${height(value)}`;
      pen = "L";
      return step;
    }).join("");
    const line = element("path", { class: `line line-${k}`, d: path });
    line.append(element("title", {}, name));
    const room = Math.floor((width - at("left") - 30) / 6.05), short = name.length > room ? `${name.slice(0, room - 1)}…` : name;
    const wide = 24 + short.length * 6.05 + 12;
    if (x > at("left") && x + wide > width) { x = at("left"); y += 16; }
    svg.append(line, element("path", { class: `line line-${k} key`, d: `M${x} ${y - 4}h20` }), element("text", { class: "name key", x: x + 24, y }, short));
    x += wide;
  });
  svg.setAttribute("viewBox", `0 0 ${width} ${y + 8}`);
}

function choosing() {
  const picks = [...document.querySelectorAll("[name=pick]")];
  if (!picks.length) return;
  const table = document.getElementById("recall-numbers"), figure = document.getElementById("figure-recall");
  const told = document.getElementById("chosen"), link = document.getElementById("compare"), usual = told.textContent;
  const recall = new Map(table ? [...table.tBodies[0].rows].slice(1).map((row) => [row.cells[0].title || row.cells[0].textContent.trim(), [...row.cells].slice(1).map((cell) => isNaN(parseFloat(cell.textContent)) ? null : parseFloat(cell.textContent))]) : []);
  const first = figure ? [...figure.querySelectorAll("svg.wide path.line:not(.key) title")].map((one) => one.textContent) : [];
  let chosen = [];

  function show() {
    for (const pick of picks) pick.checked = chosen.includes(pick.value);
    const names = (chosen.length ? chosen : first).filter((name) => recall.has(name));
    if (figure) for (const svg of figure.querySelectorAll("svg")) drawn(svg, names.map((name) => [name, recall.get(name)]));
    told.textContent = chosen.length ? `Chosen: ${chosen.length} of at most ${MOST}.` : usual;
    link.hidden = chosen.length < 2;
    if (chosen.length > 1) link.href = `../compare.html#${new URLSearchParams({ a: chosen[0], b: chosen[1] })}`;
  }
  const restore = () => { chosen = state().getAll("pick").filter((name) => picks.some((pick) => pick.value === name)).slice(0, MOST); show(); };
  for (const pick of picks) pick.addEventListener("change", () => {
    chosen = pick.checked ? [...chosen, pick.value].slice(-MOST) : chosen.filter((name) => name !== pick.value);
    const now = state();
    now.delete("pick");
    for (const name of chosen) now.append("pick", name);
    const text = now.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    show();
  });
  addEventListener("hashchange", restore);
  if (state().has("pick")) restore();
}

// Of the groups of boards on the first page one is shown at a time.
function grouping() {
  const select = document.getElementById("group");
  if (!select) return;
  const groups = [...document.querySelectorAll("[data-group]")];
  const show = () => groups.forEach((group) => { group.hidden = group.dataset.group !== select.value; });
  const restore = () => {
    const asked = state().get("boards");
    select.value = groups.some((group) => group.dataset.group === asked) ? asked : groups[0].dataset.group;
    show();
  };
  select.addEventListener("change", () => { remember({ boards: select.value === groups[0].dataset.group ? "" : select.value }); show(); });
  addEventListener("hashchange", restore);
  restore();
}

document.querySelectorAll("[data-grid]").forEach(lively);
choosing();
grouping();
