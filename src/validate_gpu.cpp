#include "src/validate_gpu.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/device_option.hpp"
#include "src/errors.hpp"
#include "src/kernel_checks.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

/// All comparisons of one kernel.
struct Line {
  std::string kernel;
  std::int64_t casts = 0, failed = 0;
  std::uint64_t words = 0, differ = 0;
};

class Report {
 public:
  void take(const CheckResult& result) {
    auto line = std::ranges::find(lines_, result.kernel, &Line::kernel);
    if (line == lines_.end()) line = lines_.insert(lines_.end(), {result.kernel});
    ++line->casts;
    line->words += result.words;
    line->differ += result.differ;
    if (result.differ == 0) return;
    constexpr int shown = 3;  // of each kernel
    if (++line->failed <= shown)
      fmt::print("{}: {}: {} of {} words differ; {}\n", result.kernel, result.cast, result.differ, result.words, result.first);
    else if (line->failed == shown + 1)
      fmt::print("{}: more of the same\n", result.kernel);
  }

  Table table() const {
    Table table("kernels", "words that kernels and the emulator agree on");
    auto& kernel = table.add<std::string>("kernel", "1", "");
    auto& casts = table.add<std::int64_t>("casts", "1", "");
    auto& words = table.add<std::uint64_t>("words", "1", "");
    auto& differ = table.add<std::uint64_t>("differ", "1", "");
    auto& verdict = table.add<std::string>("verdict", "1", "");
    for (const Line& line : lines_) {
      kernel.push_back(line.kernel), casts.push_back(line.casts), words.push_back(line.words);
      differ.push_back(line.differ), verdict.emplace_back(line.words == 0 ? "not compared" : line.differ == 0 ? "equal" : "DIFFERS");
    }
    return table;
  }

  std::uint64_t differ() const {
    std::uint64_t sum = 0;
    for (const Line& line : lines_) sum += line.differ;
    return sum;
  }

 private:
  std::vector<Line> lines_;
};

}  // namespace

int validate_gpu(const Options& options) {
  const auto engine = device_engine(options, "cuda");
  if (!engine) throw UsageError("validate --gpu: --device cpu has no kernels to validate");
  fmt::print("{}\n", engine->name());
  std::vector<CheckTensor> tensors = check_tensors();
  if (!options.words().empty()) {
    const Trace trace(options.words()[0]);
    for (CheckTensor& tensor : trace_tensors(trace)) tensors.push_back(std::move(tensor));
  }
  Report report;
  for (const KernelCheck& check : kernel_checks())
    check.run(*engine, tensors, [&](const CheckResult& result) { report.take(result); });
  fmt::print("{}", print_table(report.table(), TableStyle::text));
  if (!engine->is_gpu()) fmt::print("no GPU ran: these are the kernels' loops on the CPU, with its own conversions\n");
  return static_cast<int>(report.differ() == 0 ? Exit::ok : Exit::differs);
}

}  // namespace fp8scope
