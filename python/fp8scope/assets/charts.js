// One function a picture. Each draws into the element of its name.
const COLORS = ["#0550ae", "#bf3989", "#1a7f37", "#bc4c00", "#6639ba", "#0e7490", "#a40e26", "#7d4e00", "#57606a", "#116329"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const CONFIG = {responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"]};

function layout(title, x, y, more = {}) {
  return {title: {text: title, font: {size: 13}, x: 0.01, xanchor: "left"}, margin: {l: 60, r: 16, t: 34, b: 44}, height: 320, hovermode: "closest",
    font: {family: "system-ui, sans-serif", size: 11}, legend: {font: {size: 10}},
    xaxis: {title: {text: x}, ...more.xaxis}, yaxis: {title: {text: y}, ...more.yaxis}, ...more.rest};
}
function line(recipe) {
  return {color: COLORS[recipe % COLORS.length], dash: DASHES[Math.floor(recipe / COLORS.length) % DASHES.length], width: 1.5};
}

function drawHeat(tensors, onClick) {
  const recipes = [...state.recipes].sort((a, b) => a - b);
  const z = recipes.map(() => tensors.map(() => null));
  tensors.forEach((tensor, column) => {
    const by = rowsByRecipe(tensor);
    recipes.forEach((recipe, row) => {
      if (by.has(recipe)) z[row][column] = shown(state.statistic, median(values(by.get(recipe), state.statistic)));
    });
  });
  const names = tensors.map(t => data.tensors[t]);
  const finite = z.flat().filter(Number.isFinite);
  const better = BIGGER_IS_BETTER.has(state.statistic);
  const height = Math.max(220, 110 + 18 * recipes.length);
  Plotly.react("heat", [{type: "heatmap", z, x: names, y: recipes.map(r => data.recipes[r]), xgap: tensors.length > 80 ? 0 : 1,
    ygap: 1, colorscale: better ? "Viridis" : "Cividis", reversescale: !better, zmin: Math.min(...finite), zmax: Math.max(...finite),
    colorbar: {title: {text: unit(state.statistic), side: "right"}, thickness: 12},
    hovertemplate: "%{x}<br>%{y}<br>" + state.statistic + " %{z:.4g} " + unit(state.statistic) + "<extra></extra>"}],
  {...layout("", "", ""), height, margin: {l: 10, r: 10, t: 10, b: tensors.length > 80 ? 30 : 100},
    xaxis: {showticklabels: tensors.length <= 80, tickangle: -60, automargin: true, type: "category"},
    yaxis: {automargin: true, autorange: "reversed", type: "category"}}, CONFIG);
  const div = document.getElementById("heat");
  div.removeAllListeners("plotly_click");
  div.on("plotly_click", event => onClick(tensors[names.indexOf(event.points[0].x)]));
}

function drawSteps(id, title, column) {
  const traces = [...rowsByRecipe(state.tensor)].map(([recipe, rows]) => ({type: "scatter", mode: "lines+markers",
    marker: {size: 4}, line: line(recipe), name: data.recipes[recipe], x: values(rows, "step"), y: values(rows, column)}));
  Plotly.react(id, traces, layout(title, "step", "dB"), CONFIG);
}

// The amax of every step; the amax behind each delayed scale; a cross where a step was clipped.
function drawAmax() {
  const by = rowsByRecipe(state.tensor);
  const first = by.values().next().value || [];
  const traces = [{type: "scatter", mode: "lines+markers", name: "amax of the step", x: values(first, "step"),
    y: values(first, "amax"), line: {color: "#1b1f24", width: 2}, marker: {size: 5}}];
  for (const [recipe, rows] of by) {
    if (!rows.some(row => table.amax_age[row] !== 0)) continue;
    const name = data.recipes[recipe];
    traces.push({type: "scatter", mode: "lines", name: "in use, " + name, line: line(recipe), x: values(rows, "step"),
      y: rows.map(row => table.amax[row] * table.staleness[row]), text: rows.map(row => "age " + table.amax_age[row]),
      hovertemplate: "%{y:.4g}, %{text}<extra>" + name + "</extra>"});
    const clipped = rows.filter(row => table.clipped[row] > 0);
    traces.push({type: "scatter", mode: "markers", name: "clipped, " + name, x: values(clipped, "step"), y: values(clipped, "amax"),
      marker: {symbol: "x", size: 9, color: line(recipe).color}, text: clipped.map(row => text(100 * table.clipped[row])),
      hovertemplate: "%{text} % clipped<extra>" + name + "</extra>"});
  }
  Plotly.react("amax", traces, layout("amax, and the amax behind delayed scales", "step", "amax"), CONFIG);
}

// Exponents of the tensor over all steps, and what each recipe's format spans after its scales.
function drawExponents() {
  const counts = new Float64Array(hist.exponent.length);
  for (let i = 0; i < hist.tensor_id.length; i++)
    if (hist.tensor_id[i] === state.tensor)
      for (let bin = 0; bin < counts.length; bin++) counts[bin] += hist.count[i * counts.length + bin];
  const used = [...counts.keys()].filter(bin => counts[bin] > 0);
  const cut = used.length ? [used[0], used[used.length - 1] + 1] : [0, 1];
  const x = hist.exponent.slice(...cut), y = [...counts.slice(...cut)];
  const traces = [{type: "bar", name: "elements", x, y, marker: {color: "#8c959f"}, hovertemplate: "2^%{x}: %{y}<extra></extra>"}];
  const top = Math.max(...y, 1);
  let level = 0;
  for (const [recipe, rows] of rowsByRecipe(state.tensor)) {
    const range = formatRange(recipe, rows);
    if (!range || level >= 12) continue;
    const height = top * Math.pow(1.35, ++level);
    traces.push({type: "scatter", mode: "lines+markers", name: data.recipes[recipe], line: {...line(recipe), width: 3},
      marker: {symbol: "line-ns-open", size: 9}, x: range.map(Math.log2), y: range.map(() => height), text: RANGE_ENDS,
      hovertemplate: "%{text}: 2^%{x:.2f}<extra>" + data.recipes[recipe] + "</extra>"});
  }
  Plotly.react("exponents", traces, layout("exponents of all steps, and the range of each format", "floor(log2 |x|)", "elements",
    {yaxis: {type: "log"}, rest: {bargap: 0.05}}), CONFIG);
}
const RANGE_ENDS = ["smallest subnormal", "smallest normal", "MAX"];
// [smallest subnormal, smallest normal, MAX] in units of x for the median step: the format's limits times scale_inv.
function formatRange(recipe, rows) {
  const limits = data.ranges[recipe][data.tensors[state.tensor].split("/").pop()];
  const low = median(values(rows, "scale_inv_min")), high = median(values(rows, "scale_inv_max"));
  return limits && high > 0 && low > 0 ? [limits[0] * low, limits[1] * low, limits[2] * high] : null;
}

const TILE_SHOWS = {"log2 scale_inv": m => m.scale_inv.map(Math.log2), "log2 amax": m => m.amax.map(Math.log2), "SQNR, dB": m => m.sqnr_db,
  "flushed to zero, %": m => m.underflow.map(v => 100 * v)};
function drawTiles(map, show) {
  const m = {row: unpack(map.row), col: unpack(map.col), scale_inv: unpack(map.scale_inv), amax: unpack(map.amax),
    sqnr_db: unpack(map.sqnr_db), underflow: unpack(map.underflow)};
  const z = TILE_SHOWS[show](m);
  // Where only the worst tiles were kept, the others stay empty.
  const columns = m.col.reduce((most, c) => Math.max(most, c + 1), 0), rows = m.row.reduce((most, r) => Math.max(most, r + 1), 0);
  const grid = Array.from({length: rows}, () => new Array(columns).fill(null));
  for (let i = 0; i < z.length; i++) if (Number.isFinite(z[i])) grid[m.row[i]][m.col[i]] = z[i];
  const height = Math.min(700, Math.max(240, 100 + 6 * grid.length));
  Plotly.react("tiles", [{type: "heatmap", z: grid, colorscale: "Viridis", colorbar: {thickness: 12},
    hovertemplate: "tile row %{y}, column %{x}<br>" + show + " %{z:.4g}<extra></extra>"}],
  {...layout("", "tile column", "tile row", {yaxis: {autorange: "reversed"}}), height}, CONFIG);
}

const OWNERS = [["from_a", "cast of A", "#0550ae"], ["from_b", "cast of B", "#54aeff"], ["from_accumulator", "matrix unit", "#bc4c00"],
  ["from_output", "output rounding", "#8c959f"], ["total", "total", "#1b1f24"]];
function drawGemm() {
  const takes = new Set(shownTensors());
  const groups = new Map();
  for (let i = 0; i < gemm.a_tensor_id.length; i++) {
    if (!state.recipes.has(gemm.recipe_id[i]) || !(takes.has(gemm.a_tensor_id[i]) || takes.has(gemm.b_tensor_id[i]))) continue;
    const key = [gemm.gemm_id[i], gemm.recipe_id[i], gemm.accumulator_id[i]].join(",");
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(i);
  }
  const keys = [...groups.keys()].sort((a, b) => { const [x, y] = [a.split(","), b.split(",")];
    return x[0] - y[0] || x[1] - y[1] || x[2] - y[2]; });
  const names = keys.map(key => { const [g, r, a] = key.split(","); return [data.gemms[g], data.recipes[r], data.accumulators[a]].join(" | "); });
  const traces = OWNERS.filter(([column]) => gemm[column]).map(([column, name, color]) => ({type: "scatter", mode: "markers", name,
    marker: {color, size: column === "total" ? 11 : 8, symbol: column === "total" ? "line-ns-open" : "circle", line: {width: 2, color}},
    y: names, x: keys.map(key => { const v = median(groups.get(key).map(i => 100 * gemm[column][i])); return v > 0 ? v : null; }),
    hovertemplate: name + " %{x:.4g} %<br>%{y}<extra></extra>"}));
  Plotly.react("gemm", traces, {...layout("", "%", "", {xaxis: {type: "log", exponentformat: "power", dtick: 1}, yaxis: {automargin: true, autorange: "reversed", type: "category"}}),
    height: Math.max(240, 90 + 16 * keys.length), legend: {orientation: "h", y: 1.0, yanchor: "bottom"}}, CONFIG);
}
