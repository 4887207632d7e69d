// What GEMM emulation decides on the host, and its loops run there.
#include <stdexcept>

#include "cuda/gemm_run.hpp"
#include "cuda/host_machine.hpp"

namespace fp8scope::cuda {
namespace {

/// The fused step's conditions, section by section of sim/fused_step.hpp.
template <class Real>
bool fused_step_is_exact(const Model& m) {
  const int digits = fused::digits<Real>;
  if (m.terms != 8 && m.terms != 16 && m.terms != 32) return false;
  if (m.fraction_bits > digits - 1) return false;
  const bool in_binade = (std::int64_t{4} * m.terms + 2) << m.fraction_bits < std::int64_t{1} << (digits - 1);
  const bool whole_range = m.result.min_exponent == -126 && m.result.max_exponent == 127;
  const bool rounds = !m.result.nearest || (sizeof(Real) == 8 && m.result.fraction_bits == 23);
  return in_binade && whole_range && rounds && m.cut == Cut::toward_zero && m.zero_factors == ZeroFactors::floor &&
         m.floor_exponent < 64;
}

bool is_special(const Format& f, std::uint32_t code) { return (code & f.magnitude_mask()) > f.max_code(); }

}  // namespace

EmulatedPath emulated_path(const Model& model) {
  if (fused_step_is_exact<float>(model)) return EmulatedPath::floats;
  return fused_step_is_exact<double>(model) ? EmulatedPath::doubles : EmulatedPath::elements;
}

PackedOperand::PackedOperand(const ScaledMatrix& m, std::int64_t tile)
    : rows((m.rows + tile - 1) / tile * tile),
      // A stage may begin anywhere and reads whole: one more than K needs.
      stride((m.k + stage - 1) / stage * stage + stage),
      codes(static_cast<std::size_t>(rows * stride)),
      special(static_cast<std::size_t>(rows)) {
  for (std::int64_t r = 0; r < m.rows; ++r)
    for (std::int64_t k = 0; k < m.k; ++k) {
      const std::uint16_t code = m.codes[static_cast<std::size_t>(r * m.k + k)];
      codes[static_cast<std::size_t>(r * stride + k)] = static_cast<std::uint8_t>(code);
      if (is_special(m.format, code)) special[static_cast<std::size_t>(r)] = 1, any_special = true;
    }
}

std::string emulated_gemm_refusal(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options) {
  const Model& m = options.model;
  if (m.summation != Summation::aligned) return "only aligned sums are emulated on the GPU";
  if (m.scale_block != 0) return "units with block scales of their own are not emulated on the GPU";
  if (m.join != Join::inside) return "only units that take C inside their step are emulated on the GPU";
  for (const ScaledMatrix* x : {&a, &b})
    if (x->format.bits() != 8 || (x->format != e4m3 && x->format != e5m2))
      return "only E4M3 and E5M2 codes are multiplied on the GPU";
  return "";
}

void emulated_gemm_on_host(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                           std::span<const float> c, std::span<float> d) {
  check_scaled_gemm(a, b, options);
  const std::string refusal = emulated_gemm_refusal(a, b, options);
  if (!refusal.empty()) throw std::invalid_argument("gemm: " + refusal);
  const HostMachine machine;
  EmulatedProduct<HostMachine> product(machine, a, b, options, c);
  product.run();
  product.download(d);
}

}  // namespace fp8scope::cuda
