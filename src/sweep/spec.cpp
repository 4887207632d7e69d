#include "src/sweep/spec.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "sim/models.hpp"
#include "sim/names.hpp"
#include "sim/recipe.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

// To add an axis: a row here, and the place that reads it.
constexpr AxisKey keys[] = {
    {"recipe", "", "scaling recipe with options: NAME[:KEY=VALUE...]"},
    {"accumulator", "none", "matrix unit of the products: NAME[:KEY=VALUE...]; none: no products"},
    {"promote", "auto", "products between promotions to FP32; none; auto: the blocks of the scales"},
    {"order", "auto", "where the scales enter a product"},
    {"output", "float32", "what a product is written as: float32 or bfloat16"},
    {"split_k", "1", "parts of K summed apart"},
    {"requantise", "false", "products that contract rows cast what the first cast stands for"},
    {"gemms", "first", "use of an operand that its blocks lie along: first, all, fprop, dgrad, wgrad"},
    {"seed", "0", "of synthetic tensors and injected outliers"},
    {"synthetic.distribution", "normal", "normal, uniform, laplace or student"},
    {"synthetic.sigma", "1", "scale of the distribution"},
    {"synthetic.mean", "0", "added to every element"},
    {"synthetic.dof", "3", "degrees of freedom of student, 1 to 30"},
    {"synthetic.rows", "256", "rows of x and dy: tokens"},
    {"synthetic.cols", "512", "columns of x and w"},
    {"synthetic.outputs", "512", "rows of w, columns of dy"},
    {"synthetic.steps", "4", "steps"},
    {"synthetic.layers", "1", "layers"},
    {"inject.kind", "none", "which elements are multiplied: none, element, token (rows) or channel (columns)"},
    {"inject.ratio", "1", "factor"},
    {"inject.fraction", "0.001", "share of elements, rows or columns"},
    {"inject.operand", "x", "x, w, dy or all"},
    {"inject.steps", "all", "steps with outliers: all, or a range"},
};

constexpr std::string_view plain_keys[] = {"schema", "title", "trace", "seed", "select.layers", "select.tensors", "select.steps"};
constexpr std::string_view run_keys[] = {"run.threads", "run.max_mem", "run.isa", "run.max_points"};

std::string axis_name(std::string_view key) {
  if (key == "accum") return "accumulator";
  if (key == "recipes") return "recipe";
  return std::string(key);
}

bool is_fixed_axis(std::string_view path) {
  return path.starts_with("synthetic.") || path.starts_with("inject.") || path == "seed";
}

/// Names of options that some recipe has.
std::vector<std::string_view> recipe_option_names() {
  std::vector<std::string_view> names;
  for (const NamedRecipe& recipe : recipes())
    for (std::string_view rest = recipe.options; !rest.empty();) {
      const std::string_view word = rest.substr(0, rest.find(' '));
      rest.remove_prefix(std::min(word.size() + 1, rest.size()));
      if (const std::string_view name = word.substr(0, word.find('=')); !name.empty() && std::ranges::find(names, name) == names.end())
        names.push_back(name);
    }
  return names;
}

[[noreturn]] void unknown_key(const ConfigEntry& entry, std::string_view key, const std::vector<std::string_view>& known) {
  throw UsageError(fmt::format("{}: {}", entry.where, unknown_name("key", key, known)));
}

void require_axis_key(const ConfigEntry& entry, const std::string& key) {
  std::vector<std::string_view> known;
  for (const AxisKey& row : keys) known.push_back(row.name);
  for (const std::string_view name : recipe_option_names()) known.push_back(name);
  for (const ModelOption& option : model_options()) known.push_back(option.name);
  if (std::ranges::find(known, key) != known.end()) return;
  for (const NamedRecipe& recipe : recipes())  // options that its table does not spell out
    if (recipe_takes(std::string(recipe.name), key)) return;
  unknown_key(entry, key, known);
}

void require_plain_key(const ConfigEntry& entry) {
  std::vector<std::string_view> known(std::begin(plain_keys), std::end(plain_keys));
  for (const AxisKey& row : keys)
    if (is_fixed_axis(row.name)) known.push_back(row.name);
  known.insert(known.end(), std::begin(run_keys), std::end(run_keys));
  if (std::ranges::find(known, entry.path) != known.end()) return;
  for (const std::string_view table : {"grid", "include", "exclude"}) known.push_back(table);
  if (entry.path == "grid" || entry.path == "include" || entry.path == "exclude")
    throw UsageError(fmt::format("{}: '{}' is a table: write {}", entry.where, entry.path,
                                 entry.path == "grid" ? "[grid]" : "[[" + entry.path + "]]"));
  // "grd.recipe" is a misspelt grid, "select.layer" a misspelt select.layers.
  const std::string_view head = std::string_view(entry.path).substr(0, entry.path.find('.'));
  const bool known_head = std::ranges::any_of(known, [&](std::string_view k) { return k.starts_with(head) && k[head.size()] == '.'; });
  unknown_key(entry, known_head ? std::string_view(entry.path) : head, known);
}

GridAxis axis_of(const ConfigEntry& entry, bool expand) {
  GridAxis axis{axis_name(key_of(entry.path)), {}, entry.where};
  require_axis_key(entry, axis.key);
  for (const std::string& value : entry.values) {
    const std::vector<std::int64_t> range = expand && entry.quoted ? expand_range(value, 100'000) : std::vector<std::int64_t>{};
    for (const std::int64_t number : range) axis.values.push_back(fmt::format("{}", number));
    if (range.empty()) axis.values.push_back(value);
  }
  std::set<std::string_view> seen;
  for (const std::string& value : axis.values)
    if (!seen.insert(value).second) throw UsageError(fmt::format("{}: '{}' lists '{}' twice", entry.where, axis.key, value));
  return axis;
}

void require_number(const ConfigEntry& entry, std::string_view path, std::string_view wanted) {
  if (entry.path == path && entry.value() != wanted)
    throw UsageError(fmt::format("{}: {} {} is unknown to this program, which reads {}", entry.where, path, entry.value(), wanted));
}

std::size_t table_number(std::string_view path) {
  const std::size_t open = path.find('[');
  std::size_t number = 0;
  std::from_chars(path.data() + open + 1, path.data() + path.size(), number);
  return number;
}

}  // namespace

std::span<const AxisKey> axis_keys() { return keys; }

bool recipe_takes(const std::string& spec, const std::string& key) {
  try {
    make_recipe(spec + ":" + key + "=", {});
  } catch (const std::invalid_argument& error) {  // an unknown option, or one that wants another value
    return std::string_view(error.what()).find("unknown recipe option '" + key + "'") == std::string_view::npos;
  }
  return true;
}

std::vector<std::int64_t> expand_range(const std::string& text, std::size_t most) {
  static const std::regex form(R"((\d{1,17})-(\d{1,17})(?:([+*])(\d{1,17}))?)");
  std::smatch part;
  if (!std::regex_match(text, part, form)) return {};
  const std::int64_t first = std::stoll(part[1]), last = std::stoll(part[2]);
  const std::int64_t by = part[4].matched ? std::stoll(part[4]) : 1;
  const bool multiply = part[3] == "*";
  if (first > last || by < 1 || (multiply && (by < 2 || first < 1)))
    throw UsageError(fmt::format("range '{}': wanted FIRST-LAST, FIRST-LAST+STEP or FIRST-LAST*FACTOR, ascending", text));
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = first; n <= last;) {
    if (numbers.size() == most) throw UsageError(fmt::format("range '{}': more than {} values", text, most));
    numbers.push_back(n);
    if (multiply ? n > last / by : n > last - by) break;
    n = multiply ? n * by : n + by;
  }
  return numbers;
}

void Selection::set_layers(const ConfigEntry& entry) {
  try {
    layers_.emplace(entry.value(), std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& error) {
    throw UsageError(fmt::format("{}: '{}' is no regular expression: {}", entry.where, entry.value(), error.what()));
  }
}

void Selection::set_tensors(const ConfigEntry& entry) {
  for (const std::string& value : entry.values) {
    const auto* row = std::ranges::find_if(roles, [&](const NamedRole& r) { return r.name == value || r.operand == value; });
    if (row == std::end(roles))
      throw UsageError(fmt::format("{}: tensor '{}': wanted activation, weight, gradient, x, w or dy", entry.where, value));
    operands_.emplace_back(row->operand);
  }
}

void Selection::set_steps(const ConfigEntry& entry) {
  for (const std::string& value : entry.values) {
    if (value == "all") continue;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc{} && end == value.data() + value.size()) {
      steps_.push_back({number, number, 1});
      continue;
    }
    static const std::regex form(R"((\d{1,17})-(\d{1,17})(?:\+(\d{1,17}))?)");
    std::smatch part;
    if (!std::regex_match(value, part, form) || std::stoll(part[1]) > std::stoll(part[2]) ||
        (part[3].matched && std::stoll(part[3]) < 1))
      throw UsageError(fmt::format("{}: steps '{}': wanted N, FIRST-LAST or FIRST-LAST+STEP", entry.where, value));
    steps_.push_back({std::stoll(part[1]), std::stoll(part[2]), part[3].matched ? std::stoll(part[3]) : 1});
  }
}

bool Selection::has_tensor(const TensorInfo& info) const {
  if (!operands_.empty() && std::ranges::find(operands_, info.operand) == operands_.end()) return false;
  return !layers_ || std::regex_search(info.layer, *layers_) || std::regex_search(info.name_in_framework, *layers_);
}

bool Selection::has_step(std::int64_t step) const {
  if (steps_.empty()) return true;
  return std::ranges::any_of(steps_, [&](const auto& s) { return step >= s[0] && step <= s[1] && (step - s[0]) % s[2] == 0; });
}

SweepSpec read_spec(const Config& config, const std::string& file) {
  SweepSpec spec;
  spec.file = file;
  spec.text = config.text("run.", false);
  spec.include.resize(config.count("include"));
  spec.exclude.resize(config.count("exclude"));
  for (const ConfigEntry& entry : config.entries()) {
    const std::string& path = entry.path;
    if (path.starts_with("grid.")) {
      spec.grid.push_back(axis_of(entry, true));
    } else if (path.starts_with("include[")) {
      spec.include.at(table_number(path)).push_back(axis_of(entry, true));
    } else if (path.starts_with("exclude[")) {
      Exclusion& exclusion = spec.exclude.at(table_number(path));
      exclusion.conditions.push_back(axis_of(entry, false));
      if (exclusion.where.empty()) exclusion.where = entry.where;
    } else {
      require_plain_key(entry);
      require_number(entry, "schema", "1");
      if (path == "trace") spec.trace = entry.value();
      if (path == "title") spec.title = entry.value();
      if (path == "select.layers") spec.select.set_layers(entry);
      if (path == "select.tensors") spec.select.set_tensors(entry);
      if (path == "select.steps") spec.select.set_steps(entry);
      if (is_fixed_axis(path)) spec.fixed[path] = entry.value();
      spec.synthetic = spec.synthetic || path.starts_with("synthetic.");
    }
  }
  for (const GridAxis& axis : spec.grid) spec.synthetic = spec.synthetic || axis.key.starts_with("synthetic.");
  if (spec.trace.empty() && !spec.synthetic)
    throw UsageError(fmt::format("{}: names no tensors: write trace = \"FILE.h5\", or a table [synthetic]", file));
  if (!spec.trace.empty() && spec.synthetic)
    throw UsageError(fmt::format("{}: has both trace and [synthetic]; choose one", file));
  if (spec.grid.empty()) throw UsageError(fmt::format("{}: has no [grid]; write at least recipe = [...]", file));
  return spec;
}

}  // namespace fp8scope
