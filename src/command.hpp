#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope {

/// The words after the subcommand.
using Args = std::vector<std::string>;

/// A subcommand. `run` returns the exit code, or throws an Error that carries one.
struct Command {
  std::string_view name;
  std::string_view summary;
  int (*run)(const Args&);
  std::span<const std::string_view> actions = {};  ///< words that must follow, each with options of its own
};

/// All of them, in the order of the help text.
std::span<const Command> commands();

/// What 'trace' can do, in the order of its help.
inline constexpr std::string_view trace_actions[] = {"ls", "stat", "verify", "import", "slice", "synth", "export"};

int run_info(const Args&);
int run_bench(const Args&);
int run_models(const Args&);
int run_cast(const Args&);
int run_formats(const Args&);
int run_gemm(const Args&);
int run_validate(const Args&);
int run_probe(const Args&);
int run_recipes(const Args&);
int run_replay(const Args&);
int run_report(const Args&);
int run_schedule(const Args&);
int run_trace(const Args&);
int run_train(const Args&);
int run_export(const Args&);
int run_sweep(const Args&);
int run_merge(const Args&);
int run_completion(const Args&);
int run_statistics(const Args&);
int run_diff(const Args&);
int run_rewrite(const Args&);
int run_identify(const Args&);
int run_events(const Args&);

}  // namespace fp8scope
