#include "sim/simd/isa.hpp"

#include <hwy/targets.h>

#include <atomic>

#include "sim/names.hpp"
#include "sim/require.hpp"

namespace fp8scope {
namespace {

struct Target {
  Isa isa;
  std::int64_t mask;
};

/// Widest first.
constexpr Target targets[] = {
#if HWY_ARCH_X86
    {Isa::avx512, HWY_AVX3},
    {Isa::avx2, HWY_AVX2},
    {Isa::sse4, HWY_SSE4},
#endif
    {Isa::scalar, 0},
};

/// What the processor has, whatever was selected before.
std::int64_t supported_targets() {
  static const std::int64_t all = hwy::SupportedTargets();
  return all;
}

Isa widest() {
  for (const Target& target : targets)
    if (target.mask == 0 || (supported_targets() & target.mask) != 0) return target.isa;
  return Isa::scalar;
}

std::atomic<Isa> selected{Isa::automatic};

}  // namespace

std::string_view isa_name(Isa isa) {
  for (const NamedIsa& row : isas)
    if (row.isa == isa) return row.name;
  return "unknown";
}

bool isa_supported(Isa isa) {
  if (isa == Isa::automatic || isa == Isa::scalar) return true;
  for (const Target& target : targets)
    if (target.isa == isa) return (supported_targets() & target.mask) != 0;
  return false;
}

std::vector<Isa> supported_isas() {
  std::vector<Isa> supported;
  for (const NamedIsa& row : isas)
    if (row.isa != Isa::automatic && isa_supported(row.isa)) supported.push_back(row.isa);
  return supported;
}

void set_isa(Isa isa) {
  require(isa_supported(isa), "set_isa: this processor lacks these instructions");
  supported_targets();
  for (const Target& target : targets)
    if (target.isa == isa && target.mask != 0) hwy::SetSupportedTargetsForTest(target.mask);
  if (isa == Isa::automatic || isa == Isa::scalar) hwy::SetSupportedTargetsForTest(0);
  selected = isa;
}

Isa isa() {
  const Isa now = selected;
  return now == Isa::automatic ? widest() : now;
}

}  // namespace fp8scope
