#include "src/events/event_log.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <toml++/toml.h>

#include "sim/names.hpp"
#include "src/errors.hpp"

namespace fp8scope {
namespace {

using nlohmann::json;

/// One object of the log: every key is taken once, and what is left is an error.
class Fields {
 public:
  Fields(const json& object, std::string where, std::string what)
      : object_(object), where_(std::move(where)), what_(std::move(what)) {
    if (!object.is_object()) fail("is no object {..}");
  }

  [[noreturn]] void fail(const std::string& message) const {
    throw DataError(fmt::format("{}: {} {}", where_, what_, message));
  }
  bool has(const char* key) const { return object_.contains(key); }
  const json* take(const char* key) {
    known_.push_back(key);
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  const json& required(const char* key) {
    if (const json* value = take(key)) return *value;
    fail(fmt::format("lacks '{}'", key));
  }
  std::string text(const char* key, const std::string& fallback) {
    const json* value = take(key);
    if (!value) return fallback;
    if (!value->is_string()) fail(fmt::format("'{}' is no text", key));
    return value->get<std::string>();
  }
  std::string required_text(const char* key) {
    required(key), known_.pop_back();
    return text(key, "");
  }
  std::int64_t integer(const char* key, std::int64_t fallback, std::int64_t low, std::int64_t high) {
    const json* value = take(key);
    if (!value) return fallback;
    if (!value->is_number_integer() || value->get<std::int64_t>() < low || value->get<std::int64_t>() > high)
      fail(fmt::format("'{}' is {}; wanted an integer from {} to {}", key, value->dump(), low, high));
    return value->get<std::int64_t>();
  }
  bool flag(const char* key, bool fallback) {
    const json* value = take(key);
    if (!value) return fallback;
    if (!value->is_boolean()) fail(fmt::format("'{}' is {}; wanted true or false", key, value->dump()));
    return value->get<bool>();
  }
  std::size_t choice(const char* key, const std::vector<std::string_view>& choices) {
    const std::string word = text(key, std::string(choices[0]));
    const auto found = std::ranges::find(choices, std::string_view(word));
    if (found == choices.end()) fail(unknown_name(fmt::format("value of '{}':", key), word, choices));
    return static_cast<std::size_t>(found - choices.begin());
  }
  float real(const json& value, const char* key) const {
    if (value.is_string()) {
      const std::string word = value.get<std::string>();
      if (word == "inf" || word == "Infinity") return std::numeric_limits<float>::infinity();
      if (word == "nan" || word == "NaN") return std::numeric_limits<float>::quiet_NaN();
    }
    if (!value.is_number()) fail(fmt::format("'{}' is {}; wanted a number, \"inf\" or \"nan\"", key, value.dump()));
    return static_cast<float>(value.get<double>());
  }
  std::vector<int> ranks(const char* key, int count) {
    std::vector<int> ranks;
    const json* value = take(key);
    if (!value) return ranks;
    if (!value->is_array()) fail(fmt::format("'{}' is no list of ranks", key));
    for (const json& rank : *value) {
      if (!rank.is_number_integer() || rank.get<int>() < 0 || rank.get<int>() >= count)
        fail(fmt::format("'{}' holds {}; the log has ranks 0 to {}", key, rank.dump(), count - 1));
      ranks.push_back(rank.get<int>());
    }
    return ranks;
  }
  void finish() const {
    for (const auto& [key, value] : object_.items())
      if (std::ranges::find(known_, key) == known_.end()) fail(unknown_name("has an unknown key:", key, known_));
  }

 private:
  const json& object_;
  std::string where_, what_;
  std::vector<std::string_view> known_;
};

EventSettings read_settings(const json& object, const std::string& where) {
  Fields f(object, where, "settings");
  EventSettings s;
  std::vector<std::string_view> updates;
  for (const NamedUpdate& row : event_updates) updates.push_back(row.name);
  const NamedUpdate& how = event_updates[f.choice("update", updates)];
  s.rule.kind = how.kind;
  s.amax_history_len = f.integer("amax_history_len", how.amax_history_len, 1, 1 << 20);
  s.rule.most_recent = f.choice("amax_compute_algo", {"max", "most_recent"}) == 1;
  s.rule.margin = static_cast<int>(f.integer("margin", 0, 0, 100));
  s.rule.roll_on_zero = f.choice("zero_step", {"skip", "roll"}) == 1;
  if (const json* mu = f.take("mu")) s.rule.mu = f.real(*mu, "mu");
  s.hybrid = f.choice("format", {"hybrid", "e4m3"}) == 0;
  s.ranks = static_cast<int>(f.integer("ranks", 1, 1, 4096));
  s.reduce_amax = f.flag("reduce_amax", how.reduce_amax);
  s.stash_on_recompute = f.choice("recompute", {"stash", "live"}) == 0;
  s.shared_scale_inv = f.choice("scale_inv", {"with_codes", "shared"}) == 1;
  const auto only = [&](bool set, const char* key, std::initializer_list<HistoryKind> kinds) {
    if (set && std::ranges::find(kinds, s.rule.kind) == kinds.end())
      f.fail(fmt::format("'{}' is none of update = {}", key, how.name));
  };
  using K = HistoryKind;
  only(s.rule.most_recent, "amax_compute_algo", {K::te_fused, K::te_unfused, K::te_jax});
  only(s.rule.margin != 0, "margin", {K::te_fused, K::te_unfused, K::te_jax, K::msamp});
  only(s.rule.roll_on_zero, "zero_step", {K::te_fused});
  only(s.rule.mu != 1.0f, "mu", {K::msamp});
  if (!is_finite(s.rule.mu) || !(s.rule.mu > 0.0f)) f.fail("'mu' is no positive number");
  f.finish();
  return s;
}

EventTensor read_tensor(const json& object, const std::string& where, const EventSettings& settings) {
  Fields f(object, where, "tensor");
  EventTensor t;
  t.name = f.required_text("name");
  t.module = f.text("module", t.name.substr(0, t.name.rfind('/')));
  const std::string role = f.text("class", "activation"), format = f.text("format", "");
  const auto* row = find_by_name(roles, role);
  if (!row) f.fail(fmt::format("'class' is '{}'; wanted activation, weight or gradient", role));
  t.role = row->role;
  t.format = settings.hybrid && t.role == Role::gradient ? e5m2 : e4m3;
  try {
    if (!format.empty()) t.format = parse_format(format);
  } catch (const std::invalid_argument& error) {
    f.fail(error.what());
  }
  t.group = f.ranks("group", settings.ranks);
  t.amax_history_len = f.integer("amax_history_len", 0, 1, 1 << 20);
  t.sync = f.flag("sync", false);
  if (t.sync && settings.rule.kind != HistoryKind::msamp) f.fail("'sync' is of MS-AMP: settings lack update = msamp");
  f.finish();
  return t;
}

DelayedState read_state(const json& object, const std::string& where, const EventSettings& settings) {
  Fields f(object, where, "state");
  DelayedState state;
  state.scale = f.real(f.required("scale"), "scale");
  const json& history = f.required("history");
  if (!history.is_array()) f.fail("'history' is no list");
  for (const json& amax : history) state.history.push_back(f.real(amax, "history"));
  resize_history(state, static_cast<std::size_t>(settings.amax_history_len));
  state.counted = f.integer("counted", 0, 0, std::int64_t{1} << 40);
  f.finish();
  return state;
}

Event read_event(const json& object, const std::string& where, std::int64_t line, const EventLog& log) {
  Fields f(object, where, "event");
  Event e;
  e.line = line;
  const std::string name = f.required_text("event");
  const auto* row = find_by_name(event_kinds, name);
  if (!row) {
    std::vector<std::string_view> known;
    for (const NamedEvent& k : event_kinds) known.push_back(k.name);
    f.fail(unknown_name("is unknown:", name, known));
  }
  e.kind = row->kind;
  const auto tensor = [&] {
    e.tensor = f.required_text("tensor");
    if (std::ranges::find(log.tensors, e.tensor, &EventTensor::name) == log.tensors.end()) {
      std::vector<std::string_view> known;
      for (const EventTensor& t : log.tensors) known.push_back(t.name);
      f.fail(unknown_name("speaks of an undeclared tensor:", e.tensor, known));
    }
  };
  switch (e.kind) {
    case EventKind::cast:
      tensor();
      e.amax = std::fabs(f.real(f.required("amax"), "amax"));
      e.rank = static_cast<int>(f.integer("rank", -1, 0, log.settings.ranks - 1));
      break;
    case EventKind::use:
      tensor();
      e.rank = static_cast<int>(f.integer("rank", -1, 0, log.settings.ranks - 1));
      break;
    case EventKind::forward_end:
    case EventKind::backward_end:
    case EventKind::optimizer_step: e.rank = static_cast<int>(f.integer("rank", -1, 0, log.settings.ranks - 1)); break;
    case EventKind::microbatch: e.first = f.flag("first", true); break;
    case EventKind::recompute:
    case EventKind::skipped_module: e.module = f.required_text("module"); break;
    case EventKind::amax_allreduce:
      e.ranks = f.ranks("ranks", log.settings.ranks);
      if (e.ranks.empty())
        for (int rank = 0; rank < log.settings.ranks; ++rank) e.ranks.push_back(rank);
      break;
    case EventKind::checkpoint_save: e.name = f.required_text("name"); break;
    case EventKind::checkpoint_load:
      e.what = f.choice("what", {"all", "weights"}) == 1 ? "weights" : "all";
      e.name = f.text("name", "");
      if (const json* states = f.take("states")) {
        if (!states->is_object()) f.fail("'states' is no object of tensors");
        for (const auto& [key, state] : states->items()) {
          if (std::ranges::find(log.tensors, key, &EventTensor::name) == log.tensors.end())
            f.fail(fmt::format("'states' holds '{}', which is undeclared", key));
          e.states.push_back({key, read_state(state, where, log.settings)});
        }
      }
      break;
    default: break;
  }
  f.finish();
  return e;
}

void read_object(const json& object, const std::string& where, std::int64_t line, EventLog& log) {
  if (!object.is_object()) throw DataError(fmt::format("{}: is no object {{..}}", where));
  if (object.contains("settings")) {
    if (!log.tensors.empty() || !log.events.empty()) throw DataError(fmt::format("{}: settings come first", where));
    log.settings = read_settings(object.at("settings"), where);
  } else if (object.contains("event")) {
    log.events.push_back(read_event(object, where, line, log));
  } else if (object.contains("tensor")) {
    log.tensors.push_back(read_tensor(object.at("tensor"), where, log.settings));
    for (std::size_t i = 0; i + 1 < log.tensors.size(); ++i)
      if (log.tensors[i].name == log.tensors.back().name)
        throw DataError(fmt::format("{}: tensor '{}' is declared twice", where, log.tensors[i].name));
  } else {
    throw DataError(fmt::format("{}: wanted an object with 'settings', 'tensor' or 'event'", where));
  }
}

void read_json_lines(std::istream& file, const std::string& path, EventLog& log) {
  std::string text;
  for (std::int64_t line = 1; std::getline(file, text); ++line) {
    if (const std::size_t start = text.find_first_not_of(" \t\r"); start == std::string::npos || text[start] == '#') continue;
    const std::string where = fmt::format("{}:{}", path, line);
    json object;
    try {
      object = json::parse(text);
    } catch (const json::exception& error) {
      const std::string why = error.what();
      throw DataError(fmt::format("{}: is no JSON: {}", where, why.substr(0, why.find('\n'))));
    }
    read_object(object, where, line, log);
  }
}

json to_json(const toml::node& node) {
  std::ostringstream text;
  if (const auto* table = node.as_table()) text << toml::json_formatter(*table);
  else text << toml::json_formatter(node);
  return json::parse(text.str());
}

void read_toml(std::istream& file, const std::string& path, EventLog& log) {
  toml::table root;
  try {
    root = toml::parse(file, path);
  } catch (const toml::parse_error& error) {
    throw DataError(fmt::format("{}:{}:{}: {}", path, error.source().begin.line, error.source().begin.column, error.description()));
  }
  for (const auto& [key, node] : root)
    if (key != "settings" && key != "tensor" && key != "event") {
      constexpr std::string_view known[] = {"settings", "tensor", "event"};
      throw DataError(fmt::format("{}:{}: {}", path, node.source().begin.line, unknown_name("key", key.str(), known)));
    }
  const auto where = [&](const toml::node& node) { return fmt::format("{}:{}", path, node.source().begin.line); };
  if (const toml::node* settings = root.get("settings")) log.settings = read_settings(to_json(*settings), where(*settings));
  for (const char* list : {"tensor", "event"}) {
    const toml::node* node = root.get(list);
    if (!node) continue;
    const toml::array* array = node->as_array();
    if (!array) throw DataError(fmt::format("{}: '{}' is no list; write [[{}]]", where(*node), list, list));
    for (const toml::node& entry : *array) {
      const json object = to_json(entry);
      if (std::string_view(list) == "tensor") read_object(json{{"tensor", object}}, where(entry), 0, log);
      else log.events.push_back(read_event(object, where(entry), entry.source().begin.line, log));
    }
  }
}

}  // namespace

EventLog read_event_log(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw IoError(fmt::format("'{}': cannot be opened", path));
  EventLog log;
  log.where = path;
  if (path.ends_with(".toml")) read_toml(file, path, log);
  else read_json_lines(file, path, log);
  if (log.events.empty()) throw DataError(fmt::format("'{}': holds no event", path));
  return log;
}

}  // namespace fp8scope
