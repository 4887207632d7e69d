#include "src/sweep/run_folder.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "src/errors.hpp"
#include "src/output_file.hpp"
#include "src/sha256.hpp"
#include "src/version.hpp"

namespace fp8scope {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* plan_schema = "fp8scope-plan-1";

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw IoError(fmt::format("'{}': cannot open: {}", path, std::strerror(errno)));
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_text(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(text);
  file.commit();
}

Json read_plan(const std::string& path) {
  try {
    Json json = Json::parse(read_text(path));
    if (json.at("schema") != plan_schema)
      throw DataError(fmt::format("'{}': was written by another version of this program", path));
    return json;
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("'{}': is damaged: {}", path, error.what()));
  }
}

std::string first_difference(const std::string& here, const std::string& there) {
  std::istringstream a(here), b(there);
  for (std::string x, y;;) {
    const bool more_x = static_cast<bool>(std::getline(a, x)), more_y = static_cast<bool>(std::getline(b, y));
    if (!more_x && !more_y) return "the trace or the program differs";
    if (!more_x || !more_y || x != y) return fmt::format("it has '{}', this one '{}'", more_y ? y : "nothing", more_x ? x : "nothing");
  }
}

std::string this_tool() { return fmt::format("{} ({})", version, git_commit); }

}  // namespace

std::int64_t modified_time(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return 0;
  return status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
}

std::string RunFolder::file(const std::string& name) const { return (fs::path(path_) / name).string(); }

bool RunFolder::is_frozen() const { return fs::exists(file("plan.json")); }

std::optional<RunFolder::FrozenTrace> RunFolder::frozen_trace() const {
  if (!is_frozen()) return {};
  const Json json = read_plan(file("plan.json"));
  try {
    if (json.at("trace").is_null()) return {};
    const Json& trace = json.at("trace");
    return FrozenTrace{trace.at("path"), {trace.at("name"), trace.at("bytes"), trace.at("sha256")}, trace.at("modified")};
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("'{}': is damaged: {}", file("plan.json"), error.what()));
  }
}

void RunFolder::freeze(const SweepPlan& plan, const std::string& trace_path, bool force) {
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) throw IoError(fmt::format("'{}': cannot create the folder: {}", path_, error.message()));
  const Lock lock(file("plan.lock"), fmt::format("'{}'", path_), 60.0);
  if (is_frozen()) return compare(plan, force);
  if (fs::exists(results()))
    throw UsageError(fmt::format("'{}': holds results but no plan; choose another -o", path_));
  Json trace;
  if (!trace_path.empty())
    trace = {{"path", fs::absolute(trace_path).string()}, {"name", plan.trace().name}, {"bytes", plan.trace().bytes},
             {"sha256", plan.trace().sha256}, {"modified", modified_time(trace_path)}};
  const Json json{{"schema", plan_schema}, {"tool", this_tool()}, {"hash", plan.hash()}, {"trace", trace},
                  {"points", plan.grid().points.size()}, {"items", plan.items()}, {"catalog", plan.catalog_json()}};
  write_text(file("spec.toml"), plan.spec().text);
  Sha256 hash;
  hash.add(plan.spec().text.data(), plan.spec().text.size());
  write_text(file("spec.sha256"), hash.hex() + "  spec.toml\n");
  write_text(file("plan.json"), json.dump(1, ' ', true, Json::error_handler_t::replace) + "\n");  // last: now it counts
}

void RunFolder::compare(const SweepPlan& plan, bool force) const {
  const Json json = read_plan(file("plan.json"));
  if (json.value("hash", "") != plan.hash())
    throw UsageError(fmt::format("'{}': holds another sweep: {}; choose another -o", path_,
                                 first_difference(plan.spec().text, read_text(file("spec.toml")))));
  if (const std::string tool = json.value("tool", ""); tool != this_tool() && !force)
    throw UsageError(fmt::format("'{}': was begun by fp8scope {}, this is {}; the results of both would mix: choose another -o, "
                                 "or --force if you know that they agree",
                                 path_, tool, this_tool()));
}

SweepPlan RunFolder::frozen_plan() const {
  if (!is_frozen()) throw IoError(fmt::format("'{}': is no folder of a sweep: plan.json is missing", path_));
  const Json json = read_plan(file("plan.json"));
  Config config;
  config.add_file(file("spec.toml"));
  SweepSpec spec = read_spec(config, file("spec.toml"));
  const auto trace = frozen_trace();
  try {
    const std::string catalog = json.at("catalog");
    SweepPlan plan(std::move(spec), ~std::uint64_t{0},
                   catalog.empty() ? Catalog{} : parse_catalog(catalog, fmt::format("'{}'", file("plan.json"))),
                   trace ? trace->identity : InputFile{});
    if (plan.hash() != json.at("hash"))
      throw DataError(fmt::format("'{}': spec.toml and plan.json do not belong together, or another version of this program wrote "
                                  "them",
                                  path_));
    return plan;
  } catch (const Json::exception& error) {
    throw DataError(fmt::format("'{}': is damaged: {}", file("plan.json"), error.what()));
  }
}

std::vector<std::string> RunFolder::journals() const {
  std::vector<std::string> paths;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("journal-") && name.ends_with(".bin")) paths.push_back(entry.path().string());
  }
  if (error) throw IoError(fmt::format("'{}': cannot read the folder: {}", path_, error.message()));
  std::ranges::sort(paths);
  return paths;
}

std::string RunFolder::journal(const Shard& shard) const {
  return file(fmt::format("journal-{}-of-{}.bin", shard.index, shard.count));
}

std::unique_ptr<Lock> RunFolder::lock(const Shard& shard) const {
  const std::string what = shard.count == 1 ? fmt::format("'{}'", path_) : fmt::format("'{}': part {}/{}", path_, shard.index, shard.count);
  return std::make_unique<Lock>(file(fmt::format("journal-{}-of-{}.lock", shard.index, shard.count)), what);
}

std::unique_ptr<Lock> RunFolder::lock_results() const {
  auto lock = std::make_unique<Lock>(file("results.lock"), fmt::format("'{}'", results()), 600.0);
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(path_, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".results.h5.") && name.ends_with(".part")) fs::remove(entry.path(), ignored);
  }
  return lock;
}

}  // namespace fp8scope
