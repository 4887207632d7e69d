#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <optional>

#include "sim/names.hpp"
#include "sim/philox.hpp"
#include "sim/quantize.hpp"
#include "sim/tensor_cast.hpp"
#include "src/array.hpp"
#include "src/cast_pass.hpp"
#include "src/cast_policy.hpp"
#include "src/coded/codec_cast.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"
#include "src/requested_cast.hpp"
#include "src/run_options.hpp"
#include "src/table.hpp"

namespace fp8scope {
namespace {

RequestedCast read_request(const Options& options, const std::string& dtype) {
  const TensorKind kind{by_name(roles, options.text_or("role", "activation"), "--role").role, input_format(dtype),
                        by_name(gemm_uses, options.text_or("gemm", ""), "--gemm").gemm};
  RequestedCast request = request_cast(options.text_or("recipe", "none"), options.text("format"), kind, true);
  if (request.cast.plan.codec != Codec::none)
    for (const char* option : {"format", "rounding", "overflow", "policy", "seed"})
      if (options.has(option))
        throw UsageError(fmt::format("--{}: the elements of recipe {} are codes of {}, which has no such choice", option,
                                     options.text_or("recipe", ""), codec_row(request.cast.plan.codec).name));
  CastRule& rule = request.cast.plan.cast;
  if (const auto name = options.text("rounding")) rule.rounding = by_name(roundings, *name, "--rounding").rounding;
  if (const auto name = options.text("overflow")) rule.overflow = overflow_by_name(*name);
  set_policies(rule, options.list("policy"));
  request.cast.seed = options.number_or("seed", 0);
  return request;
}

/// Writes panels of codes, scales and values to the output file.
class CastWriter {
 public:
  CastWriter(const std::string& path, const ArrayReader& input, const TensorCast& cast, const std::string& recipe,
             const std::string& name, float whole_amax)
      : file_(path), cast_(cast), grid_(input.rows(), input.cols(), cast.block), whole_amax_(whole_amax) {
    const Format& format = cast_.plan.format;
    codes_ = file_.add_codes("codes", format, input.shape(), "codes of the elements");
    scale_inv_ = file_.add_floats("scale_inv", {grid_.down(), grid_.across()}, "1",
                                  "dequantise factor of each block");
    file_.set(scale_inv_, "block", block_name(cast_.block));
    dequantized_ = file_.add_floats("dequantized", input.shape(), "1", "decode(code) * scale_inv");
    const ScaleStorage storage = cast_.plan.storage;
    if (storage == ScaleStorage::e8m0 || storage == ScaleStorage::e4m3)
      scale_codes_ = file_.add_codes("scale_inv_codes", storage == ScaleStorage::e8m0 ? e8m0 : e4m3,
                                     {grid_.down(), grid_.across()},
                                     "dequantise factor of each block as the recipe stores it");
    if (cast_.plan.scope == Scope::tensor)
      file_.write_rows(file_.add_floats("tensor_amax", {1}, "1", "amax that the factor above the blocks comes from"), 0,
                       1, &whole_amax);
    if (cast_.plan.scope == Scope::row)
      row_amax_ = file_.add_floats("row_amax", {input.rows()}, "1", "amax that the factor above a row's blocks comes from");
    if (cast_.plan.hadamard.size > 0)
      file_.set_root("hadamard", "codes and dequantized are those of the transformed array");
    file_.set_root("recipe", recipe);
    file_.set_root("format", format_name(format));
    file_.set_root("input", name);
  }

  /// Rows [first, first + count), whole blocks but at the end.  x [count, cols]
  void write(std::int64_t first, std::int64_t count, const float* x) {
    const BlockGrid panel(count, grid_.cols, {grid_.block_rows, grid_.block_cols});
    if (!cast_.given && cast_.plan.format.bits() <= 16) return write_cast(first, panel, x);
    std::vector<Scales> scales(panel.blocks(), cast_.scales);
    if (!cast_.given && cast_.block != BlockShape{}) {  // a format wider than codes of cast_tensor()
      std::vector<float> amaxes(panel.blocks());
      block_amax(cast_.plan.amax_rule, panel, {x, static_cast<std::size_t>(panel.size())}, amaxes);
      std::ranges::transform(amaxes, scales.begin(), [&](float a) { return block_scales(*cast_.rule, a); });
    }
    std::vector<std::uint32_t> codes(panel.size());
    std::vector<float> values(panel.size());
    const Plan& plan = cast_.plan;
    tbb::parallel_for(std::int64_t{0}, count, [&](std::int64_t r) {
      for (std::int64_t c = 0; c < panel.cols; ++c) {
        const std::int64_t i = panel.element(r, c);
        const Scales& s = scales[panel.block(r, c)];
        const RandomBits random = draws_bits(plan.cast.rounding)
                                      ? random_bits(cast_.seed, first * panel.cols + i)
                                      : RandomBits{};
        codes[i] = quantize_element(plan.format, x[i], s.scale, plan.cast, random, plan.apply);
        values[i] = decode(plan.format, codes[i]) * s.scale_inv;
      }
    });
    write_codes(codes_, plan.format, first, count, codes);
    file_.write_rows(dequantized_, first, count, values.data());
    if (grid_.block_rows < grid_.rows || first == 0) write_scales(first / grid_.block_rows, panel.down(), scales);
  }

  void commit() { file_.commit(); }

 private:
  void write_cast(std::int64_t first, const BlockGrid& panel, const float* x) {
    const Plan& plan = cast_.plan;
    const TensorCodes cast = cast_tensor(plan, *cast_.rule, panel, false, {x, static_cast<std::size_t>(panel.size())},
                                         whole_amax_, cast_.seed, static_cast<std::uint64_t>(first * panel.cols));
    write_codes(codes_, plan.format, first, panel.rows, {cast.codes.begin(), cast.codes.end()});
    file_.write_rows(dequantized_, first, panel.rows, tensor_values(plan, panel, cast).data());
    if (row_amax_ >= 0) file_.write_rows(row_amax_, first, panel.rows, cast.factor_amax.data());
    if (grid_.block_rows >= grid_.rows && first > 0) return;
    std::vector<float> factors;
    for (const Scales& s : cast.scales) factors.push_back(s.scale_inv);
    file_.write_rows(scale_inv_, first / grid_.block_rows, panel.down(), factors.data());
    if (scale_codes_ >= 0) write_codes(scale_codes_, e8m0, first / grid_.block_rows, panel.down(), cast.stored);
  }

  void write_codes(int array, const Format& f, std::int64_t first, std::int64_t count,
                   const std::vector<std::uint32_t>& codes) {
    const auto narrow = [&]<class T>(T) {
      const std::vector<T> small(codes.begin(), codes.end());
      file_.write_rows(array, first, count, small.data());
    };
    if (f.bits() <= 8) narrow(std::uint8_t{});
    else if (f.bits() <= 16) narrow(std::uint16_t{});
    else narrow(std::uint32_t{});
  }

  void write_scales(std::int64_t first, std::int64_t count, const std::vector<Scales>& scales) {
    std::vector<float> factors;
    std::vector<std::uint32_t> codes;
    for (const Scales& s : scales) factors.push_back(s.scale_inv), codes.push_back(e8m0_code(s.scale_inv));
    file_.write_rows(scale_inv_, first, count, factors.data());
    if (scale_codes_ >= 0) write_codes(scale_codes_, e8m0, first, count, codes);
  }

  ArrayFile file_;
  TensorCast cast_;
  BlockGrid grid_;
  float whole_amax_;
  int codes_ = -1, scale_inv_ = -1, dequantized_ = -1, scale_codes_ = -1, row_amax_ = -1;
};

/// Writes panels of a codec's codes, the numbers of its tiles, and values to the output file.
class CodecWriter {
 public:
  CodecWriter(const std::string& path, const ArrayReader& input, const TensorCast& cast, const std::string& recipe,
              const std::string& name)
      : file_(path), codec_(codec_row(cast.plan.codec)), grid_(input.rows(), input.cols(), cast.block), name_(name) {
    const std::string codec(codec_.name);
    codes_ = file_.add_codes("codes", codec_.bits, codec, input.shape(), "codes of the elements, the sign on top");
    for (const CodecNumber& number : codec_.numbers) {
      numbers_.push_back(file_.add_doubles("codec_" + std::string(number.name), {grid_.down(), grid_.across()}, "1",
                                           std::string(number.meaning)));
      file_.set(numbers_.back(), "block", block_name(cast.block));
    }
    dequantized_ = file_.add_floats("dequantized", input.shape(), "1", "what the codes stand for");
    file_.set_root("recipe", recipe);
    file_.set_root("codec", codec);
    file_.set_root("input", array_file(name));
  }

  /// Rows [first, first + count), whole blocks but at the end.  x [count, cols]
  void write(std::int64_t first, std::int64_t count, const float* x) {
    const BlockGrid panel(count, grid_.cols, {grid_.block_rows, grid_.block_cols});
    const CodecCast cast = codec_cast(codec_.codec, panel, {x, static_cast<std::size_t>(panel.size())}, name_, first);
    if (codec_.bits > 8) {
      file_.write_rows(codes_, first, count, cast.codes.data());
    } else {
      const std::vector<std::uint8_t> bytes(cast.codes.begin(), cast.codes.end());
      file_.write_rows(codes_, first, count, bytes.data());
    }
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
      std::vector<double> column;
      for (const CodecTile& tile : cast.tiles) column.push_back(tile.*codec_.numbers[i].member);
      file_.write_rows(numbers_[i], first / grid_.block_rows, panel.down(), column.data());
    }
    file_.write_rows(dequantized_, first, count, cast.values.data());
  }

  void commit() { file_.commit(); }

 private:
  ArrayFile file_;
  const NamedCodec& codec_;
  BlockGrid grid_;
  std::string name_;
  int codes_ = -1, dequantized_ = -1;
  std::vector<int> numbers_;
};

void for_each_panel(const ArrayReader& input, std::int64_t step, std::uint64_t max_memory, const auto& visit) {
  // An element costs 20 bytes: itself, its code in two widths, its value, and HDF5's copy.
  const auto budget = static_cast<std::int64_t>(max_memory / 20) / std::max<std::int64_t>(1, input.cols());
  const std::int64_t rows = std::max(step, budget / step * step);
  std::vector<float> x(std::min(rows, input.rows()) * input.cols());
  for (std::int64_t first = 0; first < input.rows(); first += rows) {
    const std::int64_t count = std::min(rows, input.rows() - first);
    input.read_rows(first, count, x.data());
    visit(first, count, x.data());
  }
}

Table describe(const TensorFacts& facts, const CastResult& result) {
  Table table("cast", "what the cast lost");
  auto& name = table.add<std::string>("statistic", "1", "");
  auto& value = table.add<double>("value", "1", "");
  auto& unit = table.add<std::string>("unit", "1", "");
  for (const Count& c : counts()) {
    name.emplace_back(c.name);
    value.push_back(static_cast<double>(c.value(facts, result)));
    unit.emplace_back("1");
  }
  for (const Statistic& s : statistics()) {
    name.emplace_back(s.name);
    value.push_back(s.value(facts, result));
    unit.emplace_back(s.unit);
  }
  return table;
}

}  // namespace

int run_cast(const Args& args) {
  Options options("cast", "IN.npy|IN.h5:DATASET");
  options.add("recipe,r", "NAME[:KEY=VALUE...]", "scaling recipe; none (default) casts with scale 1");
  options.add("format,f", "NAME", "element format, where the recipe's is not wanted");
  options.add("role", "NAME", "what the tensor is: activation (default), weight, gradient");
  options.add("gemm", "NAME", "product that it is cast for, where the recipe distinguishes: fprop, dgrad, wgrad");
  options.add("rounding", "NAME", "unless the recipe's is wanted: nearest-even, nearest-away, nearest-zero, toward-zero, up, down, to-odd, stochastic");
  options.add("overflow", "NAME", "unless the recipe's is wanted: saturate, or special: infinity or NaN");
  options.add("policy", "A,B,...", "what becomes of NaN, infinity and bad scales: nvidia (default), ml_dtypes, "
                                   "inf=max|special, nan=all_ones|all_ones_signed|quiet_signed, "
                                   "no_nan=max|sign_bit_flip, negative_scale=magnitude|nan|lowest, "
                                   "zero_scale=lowest|nan");
  options.add("seed", "N", "of stochastic rounding, default 0");
  options.add("encoding", "NAME", "what 8- or 16-bit elements of the input encode, e.g. bfloat16");
  options.add("output,o", "FILE", "HDF5 file for codes, scale_inv, dequantized");
  options.add("max-mem", "BYTES", "memory for the array, default 1GiB");
  add_run_options(options);
  if (!options.parse(args)) return 0;

  const std::string& name = options.words()[0];
  const std::string output = options.required("output");
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(thread_count(options)));
  use_isa(options);
  const auto input = open_array(name, options.text_or("encoding", ""));
  require_other_file(output, array_file(name));
  const std::uint64_t max_memory = options.bytes_or("max-mem", 1u << 30);
  const std::string recipe = options.text_or("recipe", "none");
  RequestedCast job = read_request(options, input->dtype());
  if (input->size() == 0) throw DataError(fmt::format("{}: the array is empty", name));

  CastPass::require_whole_blocks(job.cast.plan, job.cast.block, input->rows(), input->cols(),
                                 name + ": --recipe " + recipe);
  const std::int64_t step = CastPass::panel_rows({&job.cast, 1});
  TensorFacts facts(input->rows(), input->cols());
  for_each_panel(*input, step, max_memory,
                 [&](std::int64_t first, std::int64_t count, const float* x) { facts.add(first, count, x); });
  facts.finish();
  if (facts.moments().finite == 0)
    throw DataError(fmt::format("{}: holds no finite number ({} NaN, {} infinite): there is nothing to scale",
                                name, facts.moments().nans, facts.moments().infs));

  take_first_step(job, bits_float(facts.largest_number()));
  CastPass pass(facts, {job.cast}, -1.0f);
  if (pass.needs_preparation())
    for_each_panel(*input, step, max_memory,
                   [&](std::int64_t, std::int64_t count, const float* x) { pass.prepare(count, x); });
  const float whole_amax = pass.whole_amax(0);
  job.cast = pass.casts()[0];
  if (job.cast.block == BlockShape{} && job.cast.plan.hadamard.size == 0) job.cast.given = true;
  const auto write_with = [&](auto&& writer) {
    for_each_panel(*input, step, max_memory, [&](std::int64_t first, std::int64_t count, const float* x) {
      writer.write(first, count, x);
      pass.add(first, count, x);
    });
    writer.commit();
  };
  if (job.cast.plan.codec != Codec::none) write_with(CodecWriter(output, *input, job.cast, recipe, name));
  else write_with(CastWriter(output, *input, job.cast, recipe, array_file(name), whole_amax));
  fmt::print("{}", print_table(describe(facts, pass.finish()[0]), TableStyle::text));
  return 0;
}

}  // namespace fp8scope
