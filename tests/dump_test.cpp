// Dumps of kernels around a unit: scales, promotion, output formats, casts before the product. What is
// recomputed row by row must be what scaled_gemm() computes as a matrix, and the search must name it.
#include "src/dump_model.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "sim/scaled_gemm.hpp"
#include "src/errors.hpp"
#include "src/gemm_error.hpp"
#include "src/requested_cast.hpp"
#include "tests/process.hpp"
#include "tests/temporary_folder.hpp"

namespace fp8scope {
namespace {

constexpr std::int64_t n = 6, k = 512;  // a dump of all n * n dot products of A and B

std::vector<float> numbers(unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> x(n * k);
  for (float& v : x) v = normal(random) * std::exp2(static_cast<float>(random() % 8));
  return x;
}

/// A GEMM as a kernel runs it: cast by a recipe, scales applied as the options say.
struct Kernel {
  std::vector<float> x = numbers(1), y = numbers(2), c;
  RequestedCast cast;
  CastOperand a, b;
  std::vector<float> d = std::vector<float>(n * n);

  Kernel(const std::string& recipe, ScaledGemmOptions options, bool with_c = false) {
    cast = request_cast(recipe, std::nullopt, {Role::activation, fp32});
    const GemmOperand left{n, k, x, cast.cast}, right{n, k, y, cast.cast};
    a = cast_operand(left), b = cast_operand(right);
    options.model = parse_model("hopper_wgmma", "e4m3", "e4m3");
    if (with_c) c = numbers(3), c.resize(n * n);
    for (float& v : c) v = options.bf16_output ? decode(bf16, encode(bf16, v)) : v;  // as the kernel reads it
    scaled_gemm(a.matrix(left), b.matrix(right), options, c, d);
  }
};

/// Writes the dot products as one group of a dump.
///
/// sources  a and b are what was cast, else the codes and their scales
void write_dump(const std::string& path, const std::string& group_name, const Kernel& kernel, bool sources, bool bf16_output) {
  std::vector<std::uint64_t> a, b, c, d;
  std::vector<float> sa, sb;
  const BlockGrid grid(n, k, kernel.cast.cast.block);
  const auto word = [&](float v) { return bf16_output ? encode(bf16, v, {.overflow = Overflow::special}) : float_bits(v); };
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t j = 0; j < n; ++j) {
      for (std::int64_t e = 0; e < k; ++e) {
        a.push_back(sources ? float_bits(kernel.x[i * k + e]) : std::uint32_t{kernel.a.codes[i * k + e]});
        b.push_back(sources ? float_bits(kernel.y[j * k + e]) : std::uint32_t{kernel.b.codes[j * k + e]});
      }
      for (std::int64_t e = 0; e < k; e += grid.block_cols)
        sa.push_back(kernel.a.scale_inv[grid.block(i, e)]), sb.push_back(kernel.b.scale_inv[grid.block(j, e)]);
      c.push_back(kernel.c.empty() ? 0 : word(kernel.c[i * n + j]));
      d.push_back(word(kernel.d[i * n + j]));
    }
  h5::NewFile file(path);
  h5::Group group = file.root().create_group(group_name);
  for (const char* name : {"a_fmt", "b_fmt"}) group.set(name, std::string(sources ? "f32" : "e4m3"));
  for (const char* name : {"c_fmt", "d_fmt"}) group.set(name, std::string(bf16_output ? "bf16" : "f32"));
  group.set("c_used", std::int64_t{kernel.c.empty() ? 0 : 1});
  const auto add = [&]<class T>(const char* name, h5::Type type, const std::vector<T>& values, std::int64_t cols) {
    const std::int64_t rows = n * n;
    group.create_dataset(name, type, cols == 0 ? h5::Shape{rows} : h5::Shape{rows, cols}).write_all(std::span<const T>(values));
  };
  add("a", h5::Type::u64, a, k), add("b", h5::Type::u64, b, k);
  add("c", h5::Type::u64, c, 0), add("d", h5::Type::u64, d, 0);
  if (!sources) add("scale_a", h5::Type::f32, sa, grid.across()), add("scale_b", h5::Type::f32, sb, grid.across());
  file.commit();
}

class DumpOfAKernel : public TemporaryFolder {
 protected:
  Dump dump(const Kernel& kernel, bool sources = false, bool bf16_output = false) {
    write_dump(path("d.h5"), "hopper_wgmma_kernel", kernel, sources, bf16_output);
    return read_dump(h5::open_file(path("d.h5")).group("hopper_wgmma_kernel"), "hopper_wgmma_kernel");
  }
  static std::size_t mismatches(const Dump& dump, const DumpModel& model) {
    const auto got = recompute(dump, model);
    std::size_t differ = 0;
    for (std::size_t i = 0; i < got.size(); ++i) differ += got[i] != dump.d[i];
    return differ;
  }
};

const std::vector<std::string> all_recipes = {"te_current", "te_block", "dsv3", "mxfp8"};

TEST_F(DumpOfAKernel, WithBlockScalesIsRecomputedInEveryOrderAndNoOther) {
  for (const NamedScaleOrder& order : scale_orders) {
    if (order.order == ScaleOrder::plain) continue;
    const Kernel kernel("dsv3", {.model = {}, .promote = 128, .order = order.order});
    const Dump d = dump(kernel);
    EXPECT_EQ(d.factors_per_row, 4u);
    DumpModel model = default_model(d, "hopper_wgmma");
    EXPECT_EQ(model.promote, 128u);
    for (const ScaleOrder other : {ScaleOrder::product, ScaleOrder::first_a, ScaleOrder::first_b}) {
      model.order = other;
      EXPECT_EQ(mismatches(d, model) == 0, other == order.order) << order.name;
    }
    model.order = order.order, model.promote = 64;  // one step of the interval
    EXPECT_GT(mismatches(d, model), 0u) << order.name;
    const auto fits = models_that_fit(d, all_recipes, false);
    ASSERT_EQ(fits.size(), 1u) << order.name;
    EXPECT_NE(fits[0].text().find("hopper_wgmma promoted every 128"), std::string::npos) << fits[0].text();
    EXPECT_NE(fits[0].text().find(order.name), std::string::npos) << fits[0].text();
  }
}

TEST_F(DumpOfAKernel, WithOneScaleAndCAndBfloat16OutputIsRecomputed) {
  const Kernel kernel("te_current", {.model = {}, .promote = 64, .bf16_output = true}, true);
  const Dump d = dump(kernel, false, true);
  DumpModel model = default_model(d, "hopper_wgmma");
  model.promote = 64;
  EXPECT_EQ(mismatches(d, model), 0u);
  EXPECT_GT(mismatches(d, default_model(d, "hopper_wgmma")), 0u);
}

TEST_F(DumpOfAKernel, OfSourcesNamesTheRecipeThatCastThem) {
  for (const std::string recipe : {"dsv3", "te_block"}) {
    const Kernel kernel(recipe, {.model = {}, .promote = 128, .order = ScaleOrder::first_a});
    const Dump d = dump(kernel, true);
    ASSERT_TRUE(has_sources(d));
    const auto fits = models_that_fit(d, all_recipes, false);
    const bool named = std::ranges::any_of(fits, [&](const DumpModel& fit) {
      return fit.recipe == recipe && fit.name == "hopper_wgmma" && fit.promote == 128 && fit.order == ScaleOrder::first_a;
    });
    EXPECT_TRUE(named) << recipe;
    for (const DumpModel& fit : fits) EXPECT_EQ(fit.recipe, recipe) << fit.text();
  }
}

TEST_F(DumpOfAKernel, IsExplainedOnTheCommandLine) {
  const Kernel kernel("dsv3", {.model = {}, .promote = 128, .order = ScaleOrder::first_b});
  dump(kernel, true);
  const std::string command = std::string(FP8SCOPE_BINARY) + " validate " + path("d.h5") + " --recipe ";
  const Outcome wrong = run_command(command + "te_block");
  EXPECT_EQ(wrong.code, 1) << wrong.err;
  EXPECT_NE(wrong.out.find("no mismatches with: dsv3, hopper_wgmma promoted every 128, cublas_2d1d;"), std::string::npos) << wrong.out;
  const Outcome right = run_command(command + "dsv3 --order cublas_2d1d");
  EXPECT_EQ(right.code, 0) << right.out << right.err;
  const Outcome misspelt = run_command(command + "dsv4");
  EXPECT_EQ(misspelt.code, 2);
  EXPECT_NE(misspelt.err.find("unknown recipe 'dsv4'"), std::string::npos) << misspelt.err;
}

TEST_F(DumpOfAKernel, WhoseScalesDoNotFitIsRefused) {
  const Kernel kernel("dsv3", {.model = {}, .promote = 128, .order = ScaleOrder::product});
  const Dump d = dump(kernel);
  DumpModel model = default_model(d, "hopper_wgmma");
  model.promote = 0;
  EXPECT_THROW(recompute(d, model), std::invalid_argument);
  model.promote = 256;
  EXPECT_THROW(recompute(d, model), std::invalid_argument);
  model.promote = 128, model.order = ScaleOrder::plain;
  EXPECT_THROW(recompute(d, model), std::invalid_argument);
  EXPECT_THROW(recompute(d, default_model(d, "blackwell_mxfp8")), DataError);
}

}  // namespace
}  // namespace fp8scope
