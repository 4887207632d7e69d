// What GEMM emulation decides on the host, and its loops run there.
#include <stdexcept>

#include "cuda/gemm_run.hpp"
#include "cuda/host_machine.hpp"

namespace fp8scope::cuda {
namespace {

constexpr Result any_f32{23, -126, 127, false};

bool whole_range(const Result& r) { return r.min_exponent == any_f32.min_exponent && r.max_exponent == any_f32.max_exponent; }

/// The fused step's conditions, section by section of sim/fused_step.hpp; those of its result follow.
template <class Real>
bool sum_is_exact(const Model& m, int largest_product, int products) {
  if (m.fraction_bits > fused::digits<Real> - 1 || m.floor_exponent >= 64) return false;
  const bool in_binade = (std::int64_t{largest_product} * products + 2) << m.fraction_bits < std::int64_t{1} << (fused::digits<Real> - 1);
  return in_binade && m.cut == Cut::toward_zero && m.zero_factors == ZeroFactors::floor;
}

template <class Real>
bool aligned_is_exact(const Model& m) {
  return (m.terms == 8 || m.terms == 16 || m.terms == 32) && sum_is_exact<Real>(m, 4, m.terms);
}

/// Whether 8-bit products leave no more to the result than its fraction: no subnormal number, no infinity.
template <class Real>
bool plain_result(const Model& m) {
  const bool rounds = !m.result.nearest || (sizeof(Real) == 8 && m.result.fraction_bits == 23);
  return m.scale_block == 0 && whole_range(m.result) && rounds;
}

template <class Real>
bool whole_result(const Model& m) {
  return m.result.fraction_bits <= fused::digits<Real> - 3 && m.underflow_sign == UnderflowSign::kept;
}

/// 16 products of E2M1 are at most 576, of significands of scales below 2 * 2.
bool groups_are_exact(const Model& m, const Format& a, const Format& b) {
  const bool four_bits = a == parse_format("e2m1") && b == a;
  return four_bits && m.terms == GroupedUnit::depth && m.scale_block % GroupedUnit::group == 0 && m.window == Window::scales &&
         sum_is_exact<double>(m, 576 * 4, GroupedUnit::groups) && whole_result<double>(m);
}

bool is_special(const Format& f, std::uint32_t code) { return (code & f.magnitude_mask()) > f.max_code(); }

}  // namespace

EmulatedPath emulated_path(const Model& m, const Format& a, const Format& b) {
  if (m.summation == Summation::grouped) return groups_are_exact(m, a, b) ? EmulatedPath::groups : EmulatedPath::elements;
  if (aligned_is_exact<float>(m) && plain_result<float>(m)) return EmulatedPath::floats;
  if (aligned_is_exact<double>(m) && plain_result<double>(m)) return EmulatedPath::doubles;
  // The exponents of block scales are beyond binary32's.
  if (m.scale_block == 0 && aligned_is_exact<float>(m) && whole_result<float>(m)) return EmulatedPath::whole_floats;
  return aligned_is_exact<double>(m) && whole_result<double>(m) ? EmulatedPath::whole_doubles : EmulatedPath::elements;
}

PackedOperand::PackedOperand(const ScaledMatrix& m, const Model& model, std::int64_t tile)
    : rows((m.rows + tile - 1) / tile * tile),
      // A stage may begin anywhere and reads whole: one more than K needs.
      stride((m.k + stage - 1) / stage * stage + stage),
      codes(static_cast<std::size_t>(rows * stride)),
      special(static_cast<std::size_t>(rows)) {
  if (model.scale_block > 0) unit_stride = stride / model.scale_block, unit_scales.resize(static_cast<std::size_t>(rows * unit_stride));
  for (std::int64_t r = 0; r < m.rows; ++r) {
    bool found = false;
    for (std::int64_t k = 0; k < m.k; ++k) {
      const std::uint16_t code = m.codes[static_cast<std::size_t>(r * m.k + k)];
      codes[static_cast<std::size_t>(r * stride + k)] = static_cast<std::uint8_t>(code);
      found |= is_special(m.format, code);
    }
    for (std::int64_t k = 0; model.scale_block > 0 && k < m.k; k += model.scale_block) {
      const std::uint32_t code = unit_scale_code(m, model, r, k);
      unit_scales[static_cast<std::size_t>(r * unit_stride + k / model.scale_block)] = static_cast<std::uint8_t>(code);
      found |= unpack_scale(model.scale_format, code).kind != Kind::finite;
    }
    special[static_cast<std::size_t>(r)] = found;
    any_special |= found;
  }
}

std::string emulated_gemm_refusal(const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options) {
  const Model& m = options.model;
  if (m.summation != Summation::aligned && m.summation != Summation::grouped) return "only aligned sums are emulated on the GPU";
  if (m.join != Join::inside) return "only units that take C inside their step are emulated on the GPU";
  for (const ScaledMatrix* x : {&a, &b})
    if (x->format.bits() > 8 || !x->format.is_signed() || x->format.specials == Specials::fnuz)
      return "only E4M3, E5M2, FP6 and FP4 codes are multiplied on the GPU";
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
