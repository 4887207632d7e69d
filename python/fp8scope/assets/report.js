// The controls, the tables, and what is redrawn when.
const $ = id => document.getElementById(id);

function option(value, label) { const o = document.createElement("option"); o.value = value; o.textContent = label; return o; }
function cell(row, content, cls) { const td = row.insertCell(); td.textContent = content; if (cls) td.className = cls; return td; }
function headings(tableElement, names) {
  const row = tableElement.createTHead().insertRow();
  for (const [name, cls] of names) { const th = document.createElement("th"); th.textContent = name; if (cls) th.className = cls; row.append(th); }
}

const SUMMARY = ["sqnr_db", "bulk_sqnr_db", "underflow", "clipped"];
function drawSummary(tensors) {
  const classes = [...new Set(tensors.map(t => data.classes[t]))];
  const columns = classes.flatMap(c => [...new Set([state.statistic, ...SUMMARY])].filter(s => table[s]).map(s => [c, s]));
  const cells = new Map();
  for (const tensor of tensors)
    for (const [recipe, rows] of rowsByRecipe(tensor))
      for (const [c, s] of columns) {
        if (data.classes[tensor] !== c) continue;
        const key = recipe + "," + c + "," + s;
        if (!cells.has(key)) cells.set(key, []);
        cells.get(key).push(...values(rows, s));
      }
  const element = $("summary");
  element.replaceChildren();
  headings(element, [["recipe", "text"], ...columns.map(([c, s]) => [`${c}: ${s}${unit(s) ? ", " + unit(s) : ""}`])]);
  const recipes = [...state.recipes].sort((a, b) => a - b);
  const medians = recipes.map(r => columns.map(([c, s]) => median(cells.get(r + "," + c + "," + s) || [])));
  const best = columns.map(([, s], i) => NO_ORDER.has(s) ? NaN : medians.map(m => m[i]).filter(v => !Number.isNaN(v)).sort(worseFirst(s)).pop());
  const body = element.createTBody();
  recipes.forEach((recipe, r) => {
    const row = body.insertRow();
    cell(row, data.recipes[recipe]);
    columns.forEach(([, s], i) => cell(row, text(shown(s, medians[r][i])), medians[r][i] === best[i] && medians.some(m => m[i] !== best[i]) ? "best" : ""));
  });
}

const WORST = 25;
function drawWorst(tensors) {
  const order = worseFirst(state.statistic), found = [];
  for (const tensor of tensors)
    for (const [recipe, rows] of rowsByRecipe(tensor)) {
      const worst = rows.filter(row => !Number.isNaN(table[state.statistic][row]))
        .sort((a, b) => order(table[state.statistic][a], table[state.statistic][b]))[0];
      if (worst !== undefined) found.push([tensor, recipe, worst]);
    }
  found.sort((a, b) => order(table[state.statistic][a[2]], table[state.statistic][b[2]]));
  const element = $("worst");
  element.replaceChildren();
  headings(element, [["tensor", "text"], ["recipe", "text"], ["step"], [`${state.statistic} ${unit(state.statistic)}`], ["bulk SQNR, dB"], ["amax"]]);
  const body = element.createTBody();
  for (const [tensor, recipe, r] of found.slice(0, WORST)) {
    const row = body.insertRow();
    row.className = "link";
    row.onclick = () => choose(tensor);
    cell(row, data.tensors[tensor]);
    cell(row, data.recipes[recipe], "text");
    cell(row, table.step[r]);
    cell(row, text(shown(state.statistic, table[state.statistic][r])));
    cell(row, text(table.bulk_sqnr_db[r]));
    cell(row, text(table.amax[r]));
  }
}

function drawDetail() {
  $("tensor").value = state.tensor;
  drawSteps("sqnr", "SQNR", "sqnr_db");
  drawSteps("bulk", "bulk SQNR: without the top 0.1 % of magnitudes", "bulk_sqnr_db");
  drawAmax();
  if (hist) drawExponents();
  drawTileSection();
}

function drawTileSection() {
  const maps = data.tiles ? data.tiles.maps.filter(m => m.tensor === state.tensor && state.recipes.has(m.recipe)) : [];
  $("tile-section").hidden = maps.length === 0;
  if (maps.length === 0) return;
  $("tile-map").replaceChildren(...maps.map((m, i) => option(i, `${data.recipes[m.recipe]}, step ${m.step}, ${data.gemms[m.gemm]}`)));
  const draw = () => drawTiles(maps[$("tile-map").value], $("tile-show").value);
  $("tile-map").onchange = $("tile-show").onchange = draw;
  draw();
}

function choose(tensor) {
  state.tensor = tensor;
  drawDetail();
  $("detail").scrollIntoView({behavior: "smooth"});
}

function drawAll() {
  const tensors = shownTensors();
  $("count").textContent = `${tensors.length} of ${data.tensors.length} tensors, ${state.recipes.size} of ${data.recipes.length} recipes`;
  $("recipe-box").querySelector("summary").textContent = `recipes (${state.recipes.size})`;
  if (tensors.length && !tensors.includes(state.tensor)) state.tensor = tensors[0];
  drawSummary(tensors);
  drawHeat(tensors, choose);
  drawDetail();
  if (gemm) drawGemm();
  drawWorst(tensors);
}

function control(id, event, change) { $(id).addEventListener(event, () => { change($(id)); drawAll(); }); }

function setUp() {
  document.querySelector("h1").textContent = document.title;
  const a = data.attrs;
  $("provenance").textContent = [`fp8scope ${a.tool_version || ""} (${a.git_commit || "?"})`, ...data.inputs].join(", ");
  $("class-filter").append(option("", "all"), ...[...new Set(data.classes)].map(c => option(c, c)));
  $("gemm-filter").append(...[...new Set(table.gemm_id)].sort((x, y) => x - y).map(g => option(g, data.gemms[g] || "(as recorded)")));
  $("statistic").append(...data.statistics.map(s => option(s, s)));
  $("tensor").append(...data.tensors.map((name, t) => option(t, name)));
  $("tile-show").append(...Object.keys(TILE_SHOWS).map(s => option(s, s)));
  state.gemm = Number($("gemm-filter").value);
  data.recipes.forEach((name, r) => {
    const label = document.createElement("label"), box = document.createElement("input");
    box.type = "checkbox", box.checked = true, box.value = r;
    box.addEventListener("change", () => { box.checked ? state.recipes.add(r) : state.recipes.delete(r); drawAll(); });
    label.append(box, " " + name);
    $("recipe-list").append(label);
  });
  control("tensor-filter", "input", input => {
    input.setCustomValidity(nameFilter(input.value) ? "" : "no regular expression");
    if (nameFilter(input.value)) state.filter = input.value;
  });
  control("class-filter", "change", s => state.cls = s.value);
  control("gemm-filter", "change", s => state.gemm = Number(s.value));
  control("statistic", "change", s => state.statistic = s.value);
  $("tensor").addEventListener("change", () => { state.tensor = Number($("tensor").value); drawDetail(); });
  $("controls").addEventListener("submit", event => event.preventDefault());
  $("reset").addEventListener("click", () => {
    $("tensor-filter").value = state.filter = "", $("class-filter").value = state.cls = "";
    state.recipes = new Set(data.recipes.keys());
    $("recipe-list").querySelectorAll("input").forEach(box => box.checked = true);
    drawAll();
  });
  $("gemm-section").hidden = !gemm;
  $("exponent-hint").textContent = "Ranges: smallest subnormal, smallest normal and MAX of the recipe's format, times its scale_inv (median step).";
  drawAll();
}
setUp();
