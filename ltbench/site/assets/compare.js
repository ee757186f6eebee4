// Puts two recipes side by side from the scripts of the boards, which hand over their pairs.
"use strict";
const form = document.getElementById("pair"), place = document.getElementById("pairs"), said = document.getElementById("told");
const waiting = new Map();
let boards = [];

window.ltbench = (what, told) => {
  if (what === "boards") begin(told);
  else { waiting.get(told.name)(told); }
};

function make(kind, text, told = {}) {
  const made = document.createElement(kind);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(told)) made.setAttribute(key, value);
  return made;
}

const loaded = new Map();
function board(name) {
  if (!loaded.has(name)) {
    loaded.set(name, new Promise((done) => {
      waiting.set(name, done);
      document.head.append(make("script", undefined, { src: `assets/board-${name}.js` }));
    }));
  }
  return loaded.get(name);
}

function begin(told) {
  boards = told;
  const names = [...new Set(boards.flatMap((one) => one.recipes))].sort();
  document.getElementById("recipes").append(...names.map((name) => make("option", undefined, { value: name })));
  form.addEventListener("change", () => { remember({ a: form.a.value, b: form.b.value }); show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("swap").addEventListener("click", () => {
    [form.a.value, form.b.value] = [form.b.value, form.a.value];
    remember({ a: form.a.value, b: form.b.value });
    show();
  });
  addEventListener("hashchange", restore);
  restore();
}

function restore() {
  form.a.value = state().get("a") || "";
  form.b.value = state().get("b") || "";
  show();
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(Math.abs(value) < 1 ? 2 : 1)}`;
const chance = (p) => (p === null || p === undefined ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));

// The pair of two ranked recipes, first less second; pairs come in the order of the upper triangle.
function pair(told, a, b) {
  const i = told.ranked.indexOf(a), j = told.ranked.indexOf(b), n = told.ranked.length;
  if (i < 0 || j < 0 || i === j) return null;
  const [low, high] = [Math.min(i, j), Math.max(i, j)];
  const [gap, half, p, adjusted] = told.pairs[low * n - (low * (low + 1)) / 2 + high - low - 1];
  return gap === null ? null : { gap: i < j ? gap : -gap, half, p, adjusted };
}

function verdict(found) {
  if (!found || found.half === null) return ["·", "not told", "same"];
  if (Math.abs(found.gap) <= found.half) return ["○", "not told apart", "same"];
  return found.gap > 0 ? ["▲", "first is better", "better"] : ["▼", "second is better", "worse"];
}

async function show() {
  const a = form.a.value, b = form.b.value;
  place.replaceChildren();
  if (!a || !b) { said.textContent = "Choose two recipes."; return; }
  const shared = boards.filter((one) => one.recipes.includes(a) && one.recipes.includes(b));
  if (a === b) { said.textContent = "These are one and the same."; return; }
  if (!shared.length) { said.textContent = "No board has both."; return; }
  const every = await Promise.all(shared.map((one) => board(one.name)));
  if (form.a.value !== a || form.b.value !== b) return;
  said.textContent = `${shared.length} board${shared.length > 1 ? "s have" : " has"} both.`;
  place.append(summary(every, a, b), ...every.filter((one) => one.recipes[a].recall.length && one.recipes[b].recall.length).map((one) => classes(one, a, b)));
}

function scrolled(table, name) {
  const around = make("div", undefined, { class: "scroll", role: "region", tabindex: "0", "aria-label": name });
  around.append(table);
  return around;
}

function headed(names) {
  const table = make("table"), row = table.createTHead().insertRow();
  names.forEach((name, n) => row.append(make("th", name, { scope: "col", ...(n && name !== "measure" && name !== "verdict" ? { class: "n" } : {}) })));
  table.createTBody();
  return table;
}

function summary(every, a, b) {
  const table = headed(["board", "measure", "first", "second", "difference", "verdict", "p alone", "p among all", "cost first", "cost second"]);
  for (const one of every) {
    const row = table.tBodies[0].insertRow(), found = pair(one, a, b), [sign, text, kind] = verdict(found);
    const head = make("th", undefined, { scope: "row" });
    head.append(make("a", one.name, { href: `boards/${one.name}.html` }));
    const gap = found ? `${signed(found.gap)}${found.half === null ? "" : ` ± ${found.half.toFixed(found.half < 1 ? 2 : 1)}`} ${one.unit}` : "no pairs here";
    row.append(head, make("td", one.measure), ...[one.recipes[a].value, one.recipes[b].value, gap].map((cell) => make("td", cell, { class: "n" })),
      make("td", `${sign} ${text}`, { class: kind }), ...[chance(found?.p), chance(found?.adjusted), one.recipes[a].cost, one.recipes[b].cost].map((cell) => make("td", cell, { class: "n" })));
  }
  return scrolled(table, "Both recipes on every board");
}

function classes(one, a, b) {
  const section = make("section"), table = headed(["class", "rows", "first", "second", "difference"]);
  table.className = "short";
  const first = one.recipes[a].recall, second = one.recipes[b].recall;
  one.counts.forEach((count, n) => {
    const row = table.tBodies[0].insertRow(), both = first[n] !== null && second[n] !== null;
    row.append(make("th", n === 0 ? "1, head" : n === one.counts.length - 1 ? `${n + 1}, tail` : n + 1, { scope: "row" }));
    const cells = [Math.round(count), ...[first[n], second[n]].map((value) => (value === null ? "–" : (100 * value).toFixed(1))), both ? signed(100 * (first[n] - second[n])) : "–"];
    row.append(...cells.map((cell) => make("td", cell, { class: "n" })));
  });
  section.append(make("h2", `Recall of each class on ${one.name}, percent`), scrolled(table, `Recall of each class on ${one.name}`));
  return section;
}
