#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fp8scope::train {

/// How one kind of product is computed.
struct GemmPrecision {
  std::string operands = "bf16";         ///< "fp32", "bf16" or a scaling recipe
  std::string accumulator = "fma_fp32";  ///< as parse_model() takes it
  std::string promote = "auto";          ///< N_C, "none", or "auto": the blocks of the scales
};

/// Every choice of number format in a training step; each is a switch of its own.
struct Precision {
  GemmPrecision fprop, dgrad, wgrad;
  std::string cast = "x+w+dy";       ///< operands that recipes quantise; the others stay in BF16
  std::string activations = "bf16";  ///< "fp32", "bf16": of what layers hand to each other
  std::string residual = "fp32";     ///< "fp32", "bf16"
  std::string master = "fp32";       ///< "fp32", "bf16"
  std::string gradients = "fp32";    ///< sums over micro-batches: "fp32", "bf16"
  std::string moments = "fp32";      ///< "fp32", "bf16", "fp8" (E4M3 with expanded range)
  std::string linear_cache = "input";           ///< inputs kept for wgrad: "input", "fp8"
  std::string attention_cache = "linear_cache"; ///< input of the linear after attention: also "e5m6"
  std::string swiglu_cache = "keep";            ///< "keep", "recompute", "fp8"
  std::string cache_scales = "pow2";            ///< of these caches: "pow2", "fp32"
  std::string experts = "gemms";     ///< operands of all three products of experts: "gemms" as the others, or their own
  std::string dispatch = "bf16";     ///< tokens to experts: "fp32", "bf16", "fp8"
  std::string combine = "bf16";      ///< their results: "fp32", "bf16", "fp8"
  std::string allreduce = "fp32";    ///< gradients between data-parallel ranks: "fp32", "bf16", "fp8"
  std::string embedding = "fp32", head = "fp32", gate = "fp32", attention = "fp32";  ///< as operands
  std::string norms = "fp32";        ///< "fp32", "bf16"
};

/// A switch: what the command line calls it, what it takes, and what it does.
struct Switch {
  std::string_view name, values, meaning;
  std::vector<std::string*> (*fields)(Precision&);  ///< what it sets
};

std::span<const Switch> switches();

/// A preset of all switches. `settings` is what it changes of Precision{}, "switch=value ...".
struct Mode {
  std::string_view name, settings, meaning;
};

std::span<const Mode> modes();

/// "switch=value": applies one setting.
/// Throws UsageError for an unknown switch or a value that it does not take.
void set_switch(Precision& precision, std::string_view setting);

/// The mode called `name`. Throws UnknownName.
Precision mode_precision(std::string_view name);

/// "switch=value ..." of all that differs from Precision{}; the same text means the same bits.
std::string precision_text(const Precision& precision);

}  // namespace fp8scope::train
