#pragma once

#include "cuda/delayed_on.hpp"
#include "cuda/loop_choice.hpp"
#include "cuda/quantize_columns.hpp"
#include "cuda/quantize_segments.hpp"
#include "cuda/quantize_tensor.hpp"
#include "cuda/quantize_tiles.hpp"
#include "sim/require.hpp"

namespace fp8scope::cuda {

/// One cast of a tensor that lies at `x`: its buffers, and the loops that fill them.
template <class Machine, class In>
class CastOn {
 public:
  CastOn(const Machine& machine, const void* x, std::int64_t rows, std::int64_t cols, const BlockCast& cast)
      : machine_(machine), x_(x), grid_(rows, cols, cast.block), cast_(cast),
        loops_(choose_loops(cast.block, grid_)), plan_(make_plan(cast.format, cast.rule)) {
    require(cast.format.bits() <= 16, "quantize: codes have at most 16 bits");
    require(!cast.transposed || loops_ == Loops::columns, "no kernel casts and transposes blocks of this shape");
    require(!cast.transposed || cast.format.bits() <= 8, "transposed codes have at most 8 bits");
    require(!cast.given || loops_ == Loops::tensor, "given scales are for whole tensors");
    const auto blocks = static_cast<std::size_t>(grid_.blocks());
    scales_ = Memory<Scales>(blocks);
    amax_ = Memory<std::uint32_t>(blocks);
    top_ = Memory<TensorTop>(1);
    if (cast.given) given_ = Memory<Scales>(std::span<const Scales>(&cast.scales, 1));
    inverse_ = Memory<float>(stored_scales());
    inverse_.fill_zero();
    if (cast.storage != ScaleStorage::e8m0 && cast.storage != ScaleStorage::e4m3) return;
    inverse_code_ = Memory<std::uint8_t>(stored_scales());
    inverse_code_.fill_zero();
  }

  const Scales* scales() const { return scales_.get(); }
  const std::uint32_t* amax() const { return amax_.get(); }
  const BlockGrid& grid() const { return grid_; }

  /// Scales and codes.
  void run() {
    allocate_codes();
    if (fast_codes(plan_, cast_.apply)) return run_blocks(codes8_.get());
    run_blocks(nullptr);
    run_elements();
  }
  void run_scales() { run_blocks(nullptr); }

  void run_delayed(DelayedOn<Machine>& state) {
    cast_delayed(state);
    machine_.template run<HistoryLoop>({}, most_threads, state.learn(top_.get(), cast_.amax_rule));
  }
  void run_recorded(DelayedOn<Machine>& state) {
    cast_delayed(state);
    machine_.template run<RecordLoop>({}, warp, {top_.get(), cast_.amax_rule, state.device_history()});
  }

  Quantized result() const {
    Quantized out;
    const std::vector<std::uint8_t> small = codes8_.to_host(), turned = transposed_.to_host();
    out.codes = codes16_.to_host();
    if (out.codes.empty()) out.codes.assign(small.begin(), small.end());
    out.transposed.assign(turned.begin(), turned.end());
    out.scales = scales_.to_host();
    out.amax = amax_.to_host();
    out.inverse = inverse_.to_host();
    out.inverse_code = inverse_code_.to_host();
    return out;
  }

 private:
  template <class T>
  using Memory = typename Machine::template Memory<T>;

  /// With the scale there is, and the amax on the way.
  void cast_delayed(const DelayedOn<Machine>& state) {
    allocate_codes();
    std::uint8_t* codes = fast_codes(plan_, cast_.apply) ? codes8_.get() : nullptr;
    if (codes && plan_.stochastic) tensor_loop<Stochastic>(codes, state.device_scales(), top_.get());
    else tensor_loop<Nearest>(codes, state.device_scales(), top_.get());
    if (!fast_codes(plan_, cast_.apply)) run_elements();
  }

  std::int64_t scale_stride() const { return (grid_.down() + 3) / 4 * 4; }
  std::size_t stored_scales() const {
    return static_cast<std::size_t>(cast_.layout == ScaleLayout::tma ? grid_.across() * scale_stride() : grid_.blocks());
  }
  ScaleOutput output() const {
    const bool tma = cast_.layout == ScaleLayout::tma;
    return {scales_.get(), amax_.get(), inverse_.get(), inverse_code_.get(), cast_.storage,
            tma ? 1 : grid_.across(), tma ? scale_stride() : 1};
  }
  void allocate_codes() {
    const auto size = static_cast<std::size_t>(grid_.size());
    if (cast_.format.bits() > 8) { if (codes16_.size() == 0) codes16_ = Memory<std::uint16_t>(size); }
    else if (codes8_.size() == 0) codes8_ = Memory<std::uint8_t>(size);
    if (cast_.transposed && transposed_.size() == 0) transposed_ = Memory<std::uint8_t>(size);
  }

  void run_blocks(std::uint8_t* codes) {
    if (codes && plan_.stochastic) run_loops<Stochastic>(codes);
    else run_loops<Nearest>(codes);
  }
  template <class Mode>
  void run_loops(std::uint8_t* codes) {
    switch (loops_) {
      case Loops::tensor: return run_tensor<Mode>(codes);
      case Loops::segments: return run_segments<Mode>(codes);
      case Loops::columns: return run_columns<Mode>(codes);
      case Loops::tiles: return run_tiles<Mode>(codes);
    }
  }

  BlockJob block_job(std::uint8_t* codes) const {
    BlockJob job;
    job.x = x_;
    job.rows = grid_.rows, job.cols = grid_.cols;
    job.block_rows = grid_.block_rows, job.block_cols = grid_.block_cols;
    job.across = grid_.across();
    job.aligned = grid_.cols % chunk == 0 && (grid_.block_cols % chunk == 0 || loops_ == Loops::columns || job.across == 1);
    job.rule = cast_.scale_rule;
    job.amax_rule = cast_.amax_rule;
    job.coding = make_coding(plan_, cast_.seed, cast_.first);
    job.codes = codes;
    job.scales = output();
    return job;
  }

  template <class Mode>
  void run_segments(std::uint8_t* codes) {
    typename SegmentLoop<In, Mode>::Job job{block_job(codes)};
    job.lanes = static_cast<int>(grid_.block_cols / chunk);
    if (grid_.cols % grid_.block_cols == 0 && cast_.layout == ScaleLayout::row_major) {
      job.rows = 1;  // whole segments one after another: one long row
      job.cols = grid_.size();
      job.across = grid_.blocks();
    }
    const std::int64_t chunks = (job.cols + chunk - 1) / chunk;
    job.along_log2 = 0;
    while ((1 << job.along_log2) < most_threads && ((1 << job.along_log2) < chunks || (1 << job.along_log2) < job.lanes))
      ++job.along_log2;
    const std::int64_t down = most_threads >> job.along_log2;
    machine_.template run<SegmentLoop<In, Mode>>({ceil_div(chunks, 1 << job.along_log2), grid_y(ceil_div(job.rows, down))},
                                           most_threads, job);
  }

  template <class Mode>
  void run_columns(std::uint8_t* codes) {
    constexpr std::int64_t side = ColumnLoop<In, Mode>::side;
    typename ColumnLoop<In, Mode>::Job job{block_job(codes)};
    // Codes that only the transposed place wants are not written twice.
    job.transposed = codes && cast_.transposed ? transposed_.get() : nullptr;
    require(ceil_div(grid_.rows, side) <= 65535, "column blocks: more than 8388480 rows");
    machine_.template run<ColumnLoop<In, Mode>>({ceil_div(grid_.cols, side), ceil_div(grid_.rows, side)},
                                          ColumnLoop<In, Mode>::threads, job);
  }

  template <class Mode>
  void run_tiles(std::uint8_t* codes) {
    const typename TileLoop<In, Mode>::Job job{block_job(codes)};
    require(grid_.blocks() <= 0x7fffffff, "more than 2^31 blocks");
    const std::int64_t chunks = grid_.block_rows * ((grid_.block_cols + chunk - 1) / chunk);
    const std::int64_t wanted = (chunks + TileLoop<In, Mode>::kept - 1) / TileLoop<In, Mode>::kept;
    const int threads = wanted >= most_threads ? most_threads : static_cast<int>((wanted + warp - 1) / warp * warp);
    machine_.template run<TileLoop<In, Mode>>({static_cast<std::uint32_t>(grid_.blocks())}, threads, job);
  }

  template <class Mode>
  void run_tensor(std::uint8_t* codes) {
    top_.fill_zero();
    if (cast_.given) return tensor_loop<Mode>(codes, given_.get(), nullptr);
    machine_.template run<AmaxLoop<In>>(tensor_grid(), most_threads, {x_, grid_.size(), top_.get()});
    tensor_loop<Mode>(codes, nullptr, nullptr);
  }

  Dim tensor_grid() const {
    const std::int64_t blocks = ceil_div(grid_.size(), static_cast<std::int64_t>(chunk) * most_threads);
    const std::int64_t full = machine_.multiprocessors() * 8;
    return {static_cast<std::uint32_t>(blocks < full ? blocks : full)};
  }

  template <class Mode>
  void tensor_loop(std::uint8_t* codes, const Scales* given, TensorTop* measured) {
    if (measured) top_.fill_zero();
    typename TensorLoop<In, Mode>::Job job;
    job.x = x_, job.n = grid_.size();
    job.coding = make_coding(plan_, cast_.seed, cast_.first);
    job.codes = codes;
    job.given = given;
    job.rule = cast_.scale_rule, job.amax_rule = cast_.amax_rule;
    job.top = top_.get(), job.measured = measured;
    job.scales = output();
    machine_.template run<TensorLoop<In, Mode>>(tensor_grid(), most_threads, job);
  }

  void run_elements() {
    typename ElementLoop<In>::Job job;
    job.x = x_, job.grid = grid_;
    job.format = cast_.format, job.rule = cast_.rule, job.apply = cast_.apply;
    job.seed = cast_.seed, job.first = cast_.first;
    job.scales = scales_.get();
    job.narrow = codes8_.get(), job.wide = codes16_.get(), job.transposed = transposed_.get();
    machine_.template run<ElementLoop<In>>({ceil_div(grid_.cols, most_threads), grid_y(grid_.rows)}, most_threads, job);
  }

  const Machine& machine_;
  const void* x_;
  BlockGrid grid_;
  BlockCast cast_;
  Loops loops_;
  CastPlan plan_;
  Memory<Scales> scales_, given_;
  Memory<std::uint32_t> amax_;
  Memory<TensorTop> top_;
  Memory<float> inverse_;
  Memory<std::uint8_t> inverse_code_, codes8_, transposed_;
  Memory<std::uint16_t> codes16_;
};

}  // namespace fp8scope::cuda
