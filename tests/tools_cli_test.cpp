// replay --tiles, diff, rewrite, identify, events and statistics as their users run them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "sim/bits.hpp"
#include "sim/hadamard.hpp"
#include "sim/simd/codec.hpp"
#include "src/array.hpp"
#include "src/hdf5.hpp"
#include "src/npy.hpp"
#include "src/result_file.hpp"
#include "src/sha256.hpp"
#include "tests/process.hpp"
#include "tests/same_bits.hpp"

namespace fp8scope {
namespace {

const std::string program = FP8SCOPE_BINARY;
const std::string source = FP8SCOPE_SOURCE;
const std::string trace = source + "/notebooks-data/traces/smollm2.h5";

Outcome fp8scope(const std::string& arguments) { return run_command(program + " " + arguments); }

void expect_one_line(const Outcome& outcome, int code, const std::string& part) {
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 1) << outcome.err;
  EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

void expect_words(const Outcome& outcome, int code, std::initializer_list<const char*> words) {
  EXPECT_EQ(outcome.code, code) << outcome.err << outcome.out;
  for (const char* word : words) EXPECT_NE(outcome.out.find(word), std::string::npos) << word << "\n" << outcome.out;
}

float as_bfloat16(float x) { return bits_float(float_bits(x) & 0xffff0000u); }  // such numbers hit ties

/// x.npy, and a.h5 (dsv3), b.h5 (te_block) made of it.
struct Casts {
  Folder folder;
  std::string x = folder / "x.npy", a = folder / "a.h5", b = folder / "b.h5";
  Casts() {
    std::vector<float> values(128 * 512);
    std::mt19937 random(17);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = as_bfloat16(normal(random) * std::ldexp(1.0f, static_cast<int>(i / 512 % 9) - 4));
    write_npy(x, NpyType::f4, {128, 512}, std::as_bytes(std::span(values)));
    EXPECT_EQ(fp8scope("cast " + x + " -r dsv3 -o " + a).code, 0);
    EXPECT_EQ(fp8scope("cast " + x + " -r te_block -o " + b).code, 0);
  }
};

TEST(ReplayTiles, ListTheWorstAndStoreThemReproducibly) {
  const Folder folder;
  const std::string run = "replay " + trace + " -r te_block,mxfp8 --reproducible --no-progress --tiles ";
  std::string expected;
  for (const char* threads : {"1", "2"}) {
    const std::string out = folder / "r.h5";
    expect_words(fp8scope(run + "all --scales -j " + threads + " -o " + out), 0, {"te_block", "sqnr_db", "[22:23, 128:256]", "0x3d000000"});
    if (expected.empty()) expected = sha256_of_file(out);
    EXPECT_EQ(sha256_of_file(out), expected);
  }
  const Outcome list = fp8scope("export " + (folder / "r.h5") + " --list --format text");
  for (const char* table : {"tiles", "scales", "hist_scaled"}) EXPECT_NE(list.out.find(table), std::string::npos);
  EXPECT_EQ(fp8scope(run + "worst:5:underflow").code, 0);
  expect_one_line(fp8scope(run + "worst"), 2, "worst:N");
  expect_one_line(fp8scope("replay " + trace + " --tile-shape 1x64"), 2, "--tile-shape needs --tiles");
  expect_one_line(fp8scope(run + "all --tile-shape 1y64"), 2, "ROWSxCOLUMNS");
  expect_one_line(fp8scope(run + "all --scales --tile-shape 1x64"), 2, "the recipe's own blocks");
}

TEST(DiffCommand, HasTheExitCodesOfH5diff) {
  const Casts casts;
  const std::string r = casts.folder / "r.h5", s = casts.folder / "s.h5";
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_block -o " + r).code, 0);
  ASSERT_EQ(fp8scope("replay " + trace + " -r te_block:scales=fp32 -o " + s).code, 0);
  expect_words(fp8scope("diff " + r + " " + r), 0, {"no differences"});
  expect_words(fp8scope("diff " + r + " " + s), 1, {"without a partner"});
  expect_words(fp8scope("diff " + r + " " + s + " --ignore recipe_id"), 1, {"mse: 132 of 132 differ", "L00.qkv/x"});
  const Outcome quiet = fp8scope("diff -q " + r + " " + s);
  EXPECT_EQ(quiet.code, 1);
  EXPECT_EQ(quiet.out, "");
  expect_words(fp8scope("diff " + casts.a + " " + casts.a), 0, {"codes: 0 of 65536 differ"});
  expect_words(fp8scope("diff " + casts.a + " " + casts.b), 1, {"scales: 512 of 512 differ", "codes: "});
  expect_words(fp8scope("diff --recipes dsv3,dsv3 " + trace), 0, {"agree in every scale and code"});
  expect_words(fp8scope("diff --recipes te_block:scales=fp32,dsv3 " + trace), 1,
               {"scales: 16223 of 51840 differ", "codes: 1052 of 6266880 differ (0.01679 %): 1052 by 1"});
  expect_one_line(fp8scope("diff " + r), 2, "two files");
  expect_one_line(fp8scope("diff --recipes dsv3 " + trace), 2, "two recipes");
  expect_one_line(fp8scope("diff --recipes dsv3,dsv4 " + trace), 2, "dsv3");
  expect_one_line(fp8scope("diff " + r + " /no/such.h5"), 4, "/no/such.h5");
  expect_one_line(fp8scope("diff " + r + " " + casts.x), 3, "x.npy");
}

TEST(RewriteCommand, SaysWhetherItIsStillTheSameTensor) {
  const Casts casts;
  const std::string out = casts.folder / "out.h5";
  expect_words(fp8scope("rewrite " + casts.a + " -s up"), 1, {"no longer describe the same tensor", "their codes were not"});
  expect_words(fp8scope("rewrite " + casts.a + " -s up --requantise -o " + out), 0, {"still describe the same tensor, rounded once more"});
  expect_words(fp8scope("rewrite " + casts.a + " --check " + out), 0, {"codes and scales still describe the same tensor"});
  expect_words(fp8scope("rewrite " + out + " -t exact_shift --x " + casts.x), 0, {"128x1 blocks", "against x", "cast from x"});
  expect_words(fp8scope("rewrite " + casts.b + " -t exponent_only"), 1, {"wrong"});
  expect_one_line(fp8scope("rewrite " + casts.a + " -t exact_shift"), 3, "no power of two");
  expect_one_line(fp8scope("rewrite " + casts.a), 2, "one of --transpose");
  expect_one_line(fp8scope("rewrite " + casts.a + " -t exact_shft"), 2, "did you mean 'exact_shift'?");
  expect_one_line(fp8scope("rewrite " + casts.a + " -s up -o " + casts.a), 2, "a.h5");
  expect_one_line(fp8scope("rewrite " + trace + " -s up"), 3, "no dataset of codes");
}

/// One scale a row stands for a 1x128 tile or for the row: the tile that is turned is the recipe's.
TEST(RewriteCommand, TurnsTilesThatAreWholeRowsAndElementsOfTheRecipesOwn) {
  const Casts casts;
  std::vector<float> values(256 * 128);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 997) * std::ldexp(1.0f, static_cast<int>(i / 128 % 7));
  write_npy(casts.x, NpyType::f4, {256, 128}, std::as_bytes(std::span(values)));
  const std::string narrow = casts.folder / "narrow.h5", wide = casts.folder / "wide.h5", e5m6 = "dsv3_report:operand=after_attention";
  ASSERT_EQ(fp8scope("cast " + casts.x + " -r dsv3 -o " + narrow).code, 0);
  expect_words(fp8scope("rewrite " + narrow + " -t requantise"), 0, {"after:  128x1 blocks", "rounded once more"});
  ASSERT_EQ(fp8scope("cast " + casts.x + " -r " + e5m6 + " -o " + wide).code, 0);
  expect_words(fp8scope("rewrite " + wide + " -t requantise -r " + e5m6), 0, {"e5m6", "after:  128x1 blocks"});
}

TEST(IdentifyCommand, NamesTheRecipeThatMadeADump) {
  const Casts casts;
  expect_words(fp8scope("identify " + casts.a + " --x " + casts.x), 0, {"reproduce every scale and code", "dsv3"});
  expect_words(fp8scope("identify " + casts.b + " --x " + casts.x), 0, {"te_block"});
  const std::string away = casts.folder / "away.h5";
  ASSERT_EQ(fp8scope("cast " + casts.x + " -r dsv3 --rounding nearest-away -o " + away).code, 0);
  expect_words(fp8scope("identify " + away + " --x " + casts.x), 1, {"no recipe reproduces", "you round ties away from zero"});
  const std::string cut = casts.folder / "cut.h5";
  ASSERT_EQ(fp8scope("cast " + casts.x + " -r dsv3 --rounding toward-zero -o " + cut).code, 0);
  expect_words(fp8scope("identify " + cut + " --x " + casts.x), 1, {"you truncate; dsv3 would round ties to even"});
  expect_one_line(fp8scope("identify " + casts.a), 3, "there is no x");
}

TEST(EventsCommand, ExitsWith1WhereThereIsSomethingToReport) {
  const Folder folder;
  const std::string logs = source + "/notebooks-data/events/";
  expect_words(fp8scope("events " + logs + "healthy.jsonl"), 0, {"nothing to report", "L0/dy"});
  expect_words(fp8scope("events " + logs + "microbatch_cached_weights.jsonl -o " + (folder / "e.h5")), 1,
               {"decoded_other_factor", "every value is off by", "rolled_unseen"});
  const Results results = read_results(folder / "e.h5");
  EXPECT_EQ(results.tables[0].name, "tensors");
  expect_one_line(fp8scope("events /no/such.jsonl"), 4, "/no/such.jsonl");
  expect_one_line(fp8scope("events " + trace), 3, "smollm2.h5:1");
}

TEST(StatisticsCommand, TheDocumentIsWhatTheProgramPrints) {
  const Outcome md = fp8scope("statistics --docs");
  EXPECT_EQ(md.code, 0);
  EXPECT_EQ(md.out, read_file(source + "/notebooks-data/docs/statistics.md"))
      << "make it again: fp8scope statistics --docs > notebooks-data/docs/statistics.md";
  expect_words(fp8scope("statistics"), 0, {"underflows%", "scale_inv_min", "biased exponents"});
}

std::vector<float> floats_of(const std::string& name) {
  const auto array = open_array(name);
  std::vector<float> x(static_cast<std::size_t>(array->size()));
  array->read_rows(0, array->rows(), x.data());
  return x;
}

TEST(CodecCommands, CastWritesCodesThatStandForWhatReplayMeasures) {
  const Casts casts;
  const std::vector<float> x = floats_of(casts.x);
  for (const auto& [recipe, codec] : {std::pair{"logfmt", Codec::logfmt8}, std::pair{"logfmt:bits=10:block=1x100", Codec::logfmt10},
                                      std::pair{"coat_optimizer", Codec::coat_expand}}) {
    const std::string out = casts.folder / "codec.h5";
    expect_words(fp8scope("cast " + casts.x + " -r " + recipe + " --max-mem 1MiB -o " + out), 0, {"sqnr_db"});
    const BlockGrid grid(128, 512, make_recipe(recipe, {})->plan().block);
    std::vector<float> want(x.size());
    codec_matrix(codec, grid, x, want);
    EXPECT_TRUE(same_bits(want, floats_of(out + ":dequantized"))) << recipe;
    const h5::Group root = h5::open_file(out);
    const auto codes = root.dataset("codes").values<std::int64_t>();
    const NamedCodec& row = codec_row(codec);
    EXPECT_EQ(root.dataset("codes").text("encoding"), std::string(row.name));
    std::vector<CodecTile> tiles(static_cast<std::size_t>(grid.blocks()));
    for (const CodecNumber& number : row.numbers) {
      const auto column = root.dataset("codec_" + std::string(number.name)).values<double>();
      ASSERT_EQ(column.size(), tiles.size());
      for (std::size_t t = 0; t < tiles.size(); ++t) tiles[t].*number.member = column[t];
    }
    std::vector<float> decoded;  // by the file alone
    for (std::int64_t r = 0; r < grid.rows; ++r)
      for (std::int64_t c = 0; c < grid.cols; ++c)
        decoded.push_back(codec_decode(codec, tiles[grid.block(r, c)], static_cast<std::uint32_t>(codes[grid.element(r, c)])));
    EXPECT_TRUE(same_bits(want, decoded)) << recipe;
  }
  std::vector<float> bad = x;
  bad[3 * 512 + 7] = bits_float(inf_bits);
  write_npy(casts.folder / "inf.npy", NpyType::f4, {128, 512}, std::as_bytes(std::span(bad)));
  expect_one_line(fp8scope("cast " + (casts.folder / "inf.npy") + " -r logfmt -o " + (casts.folder / "n.h5")), 3, "[3, 7] is inf");
  expect_one_line(fp8scope("cast " + casts.x + " -r logfmt -f e4m3 -o " + (casts.folder / "n.h5")), 2, "--format");
}

TEST(CodecCommands, GemmMultipliesTheDecodedValues) {
  const Casts casts;
  const std::vector<float> x = floats_of(casts.x);
  std::vector<float> y(x.size()), out;
  codec_matrix(Codec::logfmt8, BlockGrid(128, 512, {1, 128}), x, y);
  const std::string d = casts.folder / "d.npy", run = "gemm " + casts.x + " " + casts.x + " -r logfmt -o " + d;
  for (const bool half : {false, true}) {
    expect_words(fp8scope(run + (half ? " -a exact -f bf16" : " -a fma_fp32")), 0, {"from_a"});
    const std::vector<float> got = floats_of(d);
    std::vector<float> want;
    for (std::int64_t m = 0; m < 128; ++m)
      for (std::int64_t n = 0; n < 128; ++n) {
        float sum = 0.0f;
        double exact = 0.0;
        for (std::int64_t k = 0; k < 512; ++k) {
          const float a = y[m * 512 + k], b = y[n * 512 + k];
          sum = std::fma(a, b, sum);
          exact += static_cast<double>(to_bf16(a)) * to_bf16(b);
        }
        want.push_back(half ? static_cast<float>(exact) : sum);
      }
    if (!half) {
      EXPECT_TRUE(same_bits(want, got));
    }
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5f * (1.0f + std::fabs(want[i])));
  }
  expect_words(fp8scope("gemm " + casts.x + " " + casts.x + " -r logfmt"), 0, {"from_a"});  // bfloat16: what the unit takes
  expect_one_line(fp8scope("gemm " + casts.x + " " + casts.x + " -r logfmt -a blackwell_mxfp8"), 2, "does not multiply");
  expect_words(fp8scope("replay " + trace + " -r logfmt -a fma_fp32 --no-progress -o " + (casts.folder / "r.h5")), 0, {"fma_fp32"});
}

TEST(RewriteCommand, MakesFp4ToFp8AndLayouts) {
  const Casts casts;
  const std::string fp4 = casts.folder / "fp4.h5", out = casts.folder / "fp8.h5", laid = casts.folder / "laid.h5";
  ASSERT_EQ(fp8scope("cast " + casts.x + " -r mxfp8:format=e2m1 -o " + fp4).code, 0);
  expect_words(fp8scope("rewrite " + fp4 + " --lossless-e4m3 1x128 -o " + out), 0, {"values equal    65536 (100 %)", "bit for bit"});
  expect_words(fp8scope("rewrite " + fp4 + " --check " + out), 0, {"bit for bit"});
  expect_one_line(fp8scope("rewrite " + casts.a + " --lossless-e4m3 1x128"), 3, "E2M1");
  expect_words(fp8scope("rewrite " + fp4 + " -l fp4_pairs,deepgemm_ue8m0,mx_swizzled -o " + laid), 0, {"bit for bit"});
  expect_words(fp8scope("rewrite " + fp4 + " --check " + laid + " --codes codes_fp4_pairs --scales scale_inv_deepgemm_ue8m0"), 3, {});
  expect_words(fp8scope("rewrite " + laid + " --codes codes_fp4_pairs --scales scale_inv_deepgemm_ue8m0 --block 1x32 --check " + laid), 0, {"bit for bit"});
  expect_words(fp8scope("rewrite " + casts.b + " -l cublas_1x128 -o " + laid), 0, {"bit for bit"});
  expect_words(fp8scope("rewrite " + laid + " --scales scale_inv_cublas_1x128 --block 1x128 --check " + laid), 0, {"bit for bit"});
  expect_words(fp8scope("rewrite " + casts.a + " -s up --requantise -l deepgemm_ue8m0 -o " + laid), 0, {"rounded once more"});
  expect_one_line(fp8scope("rewrite " + casts.a + " -l deepgemm_ue8m -o " + laid), 2, "did you mean 'deepgemm_ue8m0'?");
  expect_one_line(fp8scope("rewrite " + casts.a + " -l cublas_1x128"), 2, "--output");
}

}  // namespace
}  // namespace fp8scope
