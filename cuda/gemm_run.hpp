#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "cuda/gemm.hpp"
#include "cuda/gemm_loops.hpp"

/// scaled_gemm() on a machine that runs loops: a GPU, or the CPU in its place.
namespace fp8scope::cuda {

/// How a product is emulated.
enum class EmulatedPath : std::uint8_t {
  floats,         ///< one FP32 FMA per product
  doubles,        ///< one FP64 FMA per product
  whole_floats,   ///< the same into binary16
  whole_doubles,  ///< the same into binary16, or with block scales
  groups,         ///< one FP64 FMA per 16 products of a scaled 4-bit format
  elements,       ///< integers, element by element
};

EmulatedPath emulated_path(const Model& model, const Format& a, const Format& b);

/// An operand's codes as the loops want them.
struct PackedOperand {
  std::int64_t rows, stride, unit_stride = 0;
  std::vector<std::uint8_t> codes, special;
  std::vector<std::uint8_t> unit_scales;  ///< of a unit with block scales
  bool any_special = false;

  PackedOperand(const ScaledMatrix& m, const Model& model, std::int64_t tile);
};

inline namespace FP8_LOOPS {

/// Adds a part of K to the sum of those before it and, after the last, makes D of it.
struct PartLoop {
  static constexpr int threads = 256;
  struct Job {
    const float* part;  ///< [size]
    const float* c;     ///< [size] or nullptr
    float* d;           ///< [size]
    std::int64_t size;
    bool first, last;
    ProductEnd end;
  };
  struct Shared {};

  static FP8_KERNEL void run(const Team& team, Shared&, const Job& job) {
    team.each([&](int t) {
      const std::int64_t i = static_cast<std::int64_t>(team.block().x) * threads + t;
      if (i >= job.size) return;
      float d = job.first ? job.part[i] : job.d[i] + job.part[i];
      if (job.last) d = finish_element(job.end, d, job.c ? job.c + i : nullptr);
      job.d[i] = d;
    });
  }
};

/// The loops of one path, and the tile that operands are padded to.
using FloatTile = EmulatedTile<FusedUnit<float, 4, 8, false>>;
using DoubleTile = EmulatedTile<FusedUnit<double, 4, 4, false>>;
using WholeFloatTile = EmulatedTile<FusedUnit<float, 4, 8, true>>;
using WholeDoubleTile = EmulatedTile<FusedUnit<double, 4, 4, true>>;
using GroupTile = EmulatedTile<GroupedUnit>;
inline constexpr std::int64_t padded_rows = 128;

/// Memory and jobs of one product on one machine.
template <class Machine>
class EmulatedProduct {
  template <class T>
  using Memory = typename Machine::template Memory<T>;

 public:
  EmulatedProduct(const Machine& machine, const ScaledMatrix& a, const ScaledMatrix& b, const ScaledGemmOptions& options,
                  std::span<const float> c)
      : machine_(machine), options_(options), path_(emulated_path(options.model, a.format, b.format)),
        packed_a_(a, options.model, padded_rows), packed_b_(b, options.model, padded_rows), a_codes_(std::span<const std::uint8_t>(packed_a_.codes)),
        b_codes_(std::span<const std::uint8_t>(packed_b_.codes)), a_special_(std::span<const std::uint8_t>(packed_a_.special)),
        b_special_(std::span<const std::uint8_t>(packed_b_.special)),
        a_unit_scales_(std::span<const std::uint8_t>(packed_a_.unit_scales)), b_unit_scales_(std::span<const std::uint8_t>(packed_b_.unit_scales)),
        a_scales_(a.scale_inv.first(static_cast<std::size_t>(a.grid().blocks()))),
        b_scales_(b.scale_inv.first(static_cast<std::size_t>(b.grid().blocks()))), c_(c),
        part_(static_cast<std::size_t>(a.rows * b.rows)), d_(static_cast<std::size_t>(a.rows * b.rows)) {
    const bool inside = options.model.scale_block > 0;
    const bool at_end = !inside && a.grid().blocks() == 1 && b.grid().blocks() == 1;
    job_.a = operand(a, packed_a_, a_codes_, a_special_, a_scales_, a_unit_scales_);
    job_.b = operand(b, packed_b_, b_codes_, b_special_, b_scales_, b_unit_scales_);
    job_.model = options.model;
    // No sum of 8-bit products needs so low a floor, and a zero step is zero on any quantum.
    if (job_.model.floor_exponent < -60 && !inside && path_ != EmulatedPath::elements) job_.model.floor_exponent = -60;
    job_.m = a.rows, job_.n = b.rows, job_.promote = std::min(options.promote, std::int64_t{1} << 30), job_.order = options.order;
    job_.scaled = !inside && !at_end, job_.out = part_.get();
    end_ = {at_end, options.bf16_output, at_end ? a.scale_inv[0] * b.scale_inv[0] : 1.0f};
    k_ = a.k;
  }

  void run() {
    for (std::int64_t part = 0; part < options_.split_k; ++part) {
      run_part(part);
      const std::int64_t size = job_.m * job_.n;
      machine_.template run<PartLoop>(blocks(size, PartLoop::threads), PartLoop::threads,
                                      {part_.get(), c_.size() > 0 ? c_.get() : nullptr, d_.get(), size, part == 0,
                                       part + 1 == options_.split_k, end_});
    }
  }

  /// The unit's sums of one part, without what follows them.
  void run_part(std::int64_t part) {
    const KPart range = k_part(k_, options_, part);
    job_.k_begin = range.begin, job_.k_end = range.end;
    const bool special = packed_a_.any_special || packed_b_.any_special;
    switch (path_) {
      case EmulatedPath::floats: run_tiles<FloatTile>(); break;
      case EmulatedPath::doubles: run_tiles<DoubleTile>(); break;
      case EmulatedPath::whole_floats: run_tiles<WholeFloatTile>(); break;
      case EmulatedPath::whole_doubles: run_tiles<WholeDoubleTile>(); break;
      case EmulatedPath::groups: run_tiles<GroupTile>(); break;
      case EmulatedPath::elements: break;
    }
    if (path_ != EmulatedPath::elements && !special) return;
    if (job_.model.summation == Summation::grouped) run_elements<EmulatedElement<true>>();
    else run_elements<EmulatedElement<false>>();
  }

  void download(std::span<float> d) const { d_.download(d.first(d_.size())); }

 private:
  static Dim blocks(std::int64_t count, int threads) { return {static_cast<std::uint32_t>((count + threads - 1) / threads), 1}; }

  static EmulatedOperand operand(const ScaledMatrix& m, const PackedOperand& packed, const Memory<std::uint8_t>& codes,
                                 const Memory<std::uint8_t>& special, const Memory<float>& scales, const Memory<std::uint8_t>& unit_scales) {
    return {codes.get(), special.get(), scales.get(), unit_scales.get(), packed.stride, packed.unit_stride, m.grid(), m.grid().across(), fused::NarrowFormat(m.format), m.format};
  }

  template <class Tile>
  void run_tiles() {
    const Dim across = blocks(job_.n, Tile::columns), down = blocks(job_.m, Tile::rows);
    machine_.template run<Tile>({across.x, down.x}, Tile::threads, job_);
  }

  template <class Element>
  void run_elements() {
    const Dim across = blocks(job_.n, Element::threads);
    machine_.template run<Element>({across.x * static_cast<std::uint32_t>(job_.m), 1}, Element::threads, {job_, path_ != EmulatedPath::elements});
  }

  const Machine& machine_;
  const ScaledGemmOptions& options_;
  EmulatedPath path_;
  PackedOperand packed_a_, packed_b_;
  Memory<std::uint8_t> a_codes_, b_codes_, a_special_, b_special_, a_unit_scales_, b_unit_scales_;
  Memory<float> a_scales_, b_scales_, c_, part_, d_;
  EmulatedJob job_{};
  ProductEnd end_{};
  std::int64_t k_ = 0;
};

}  // namespace FP8_LOOPS
}  // namespace fp8scope::cuda
