// What the page shows: columns unpacked, and the rows that the filters leave.
const data = JSON.parse(document.getElementById("data").textContent);

function unpack(column) {
  const bytes = Uint8Array.from(atob(column.base64), c => c.charCodeAt(0));
  return column.type === "<i4" ? new Int32Array(bytes.buffer) : new Float32Array(bytes.buffer);
}
function unpackAll(table) {
  return Object.fromEntries(Object.entries(table).map(([k, v]) => [k, v && v.base64 !== undefined ? unpack(v) : v]));
}
const table = unpackAll(data.results);
const gemm = data.gemm ? unpackAll(data.gemm) : null;
const hist = data.hist ? unpackAll(data.hist) : null;
const rowCount = table.tensor_id.length;

// Smaller is better for every statistic but these.
const BIGGER_IS_BETTER = new Set(["sqnr_db", "bulk_sqnr_db", "row_median_sqnr_db"]);
// Neither is: they have a best value in the middle, or none.
const NO_ORDER = new Set(["headroom_log2", "bias"]);
const SHARES = new Set(["underflow", "clipped", "overflow", "subnormal", "clipped_mass"]);

function unit(statistic) {
  if (SHARES.has(statistic)) return "%";
  const u = data.units[statistic];
  return u && u !== "1" ? u : "";
}
function shown(statistic, value) { return SHARES.has(statistic) ? 100 * value : value; }
function text(value) {
  if (value === undefined || Number.isNaN(value)) return "";
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))) : value > 0 ? "exact" : "-inf";
}
// Order in which `a` is worse than `b`.
function worseFirst(statistic) {
  if (statistic === "headroom_log2") return (a, b) => a - b;
  if (statistic === "bias") return (a, b) => Math.abs(b) - Math.abs(a);
  return BIGGER_IS_BETTER.has(statistic) ? (a, b) => a - b : (a, b) => b - a;
}

function median(values) {
  const sorted = Float64Array.from(values).filter(v => !Number.isNaN(v)).sort();
  const n = sorted.length;
  if (n === 0) return NaN;
  return n % 2 ? sorted[n >> 1] : sorted[n / 2 - 1] === sorted[n / 2] ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

const state = {filter: "", cls: "", gemm: 0, statistic: data.statistics[0], recipes: new Set(data.recipes.keys()), tensor: 0};

// A predicate of tensor names: "/regex/" or part of the name. null: the regex is no regex yet.
function nameFilter(pattern) {
  const regex = /^\/(.*)\/$/.exec(pattern);
  if (!regex) return name => name.includes(pattern);
  try { const r = new RegExp(regex[1]); return name => r.test(name); } catch { return null; }
}
function shownTensors() {
  const takes = nameFilter(state.filter) || (() => true);
  return [...data.tensors.keys()].filter(t => takes(data.tensors[t]) && (!state.cls || data.classes[t] === state.cls));
}
// Rows of `table` by tensor, made once: with 400 tensors and 40 recipes a scan per cell would take minutes.
const rowsOfTensor = data.tensors.map(() => []);
for (let row = 0; row < rowCount; row++) rowsOfTensor[table.tensor_id[row]].push(row);

// {recipe: [rows]} of one tensor, for the product and recipes chosen; a tensor without that product gives its first.
function rowsByRecipe(tensor) {
  const rows = rowsOfTensor[tensor];
  const gemms = new Set(rows.map(row => table.gemm_id[row]));
  const wanted = gemms.has(state.gemm) ? state.gemm : gemms.values().next().value;
  const by = new Map();
  for (const row of rows) {
    if (table.gemm_id[row] !== wanted || !state.recipes.has(table.recipe_id[row])) continue;
    if (!by.has(table.recipe_id[row])) by.set(table.recipe_id[row], []);
    by.get(table.recipe_id[row]).push(row);
  }
  return by;
}
function values(rows, column) { return rows.map(row => table[column][row]); }
