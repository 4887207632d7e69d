#include "sim/models.hpp"

#include <vector>

#include "sim/names.hpp"

namespace fp8scope {
namespace {

constexpr std::string_view fp8 = "e4m3 e5m2", narrow = "e4m3 e5m2 e2m3 e3m2 e2m1";
constexpr std::string_view fnuz = "e4m3fnuz e5m2fnuz";

// Evidence. A "word" is one output of one instruction, compared bit for bit.
constexpr std::string_view
    v100 = "V100 words; MMA-Sim (arXiv:2511.10909); PeerJ CS 7:e330",
    t4 = "MMA-Sim on T4",
    a100 = "A100, A2 words; MMA-Sim",
    ada = "RTX Ada, L40S words; MMA-Sim",
    ada_fp8 = "RTX Ada, L40S words; MMA-Sim; 50 M words of an RTX 4090",
    h100 = "H100, H200 words; MMA-Sim; 25.7 M bf16 words",
    wgmma = "MMA-Sim; bf16 equals mma.sync word for word",
    wgmma_fp8 = "H100, H200 words with C=0; 51 M words with C; MMA-Sim",
    wgmma_half = "MMA-Sim only",
    lowering32 = "H100: SASS and 50 M words, B200 words; the compiler's lowering, not a native FP8 unit",
    lowering16 = "fitted to H100, H200, B200 words; the compiler's lowering, not a native FP8 unit",
    b200 = "B200 words; MMA-Sim",
    tcgen05 = "MMA-Sim; tcgen05-model on B200 (FP6 there only)",
    tcgen05_half = "MMA-Sim; tcgen05-model on B200 (mixed pairs)",
    block_scaled = "MMA-Sim; tcgen05-model on B200",
    four_bit = "MMA-Sim; tcgen05-model states another, nearly equal window (option window)",
    rtx = "MMA-Sim and 45 M words of an RTX PRO 6000",
    rtx_half = "MMA-Sim",
    mi = "MMA-Sim v2";

constexpr Model aligned(int terms, int f, Result result, int floor) {
  Model m;
  m.terms = terms, m.fraction_bits = f, m.result = result, m.floor_exponent = floor;
  return m;
}

constexpr Model scaled(Model m, int block, Format format, Summation summation) {
  m.scale_block = block, m.scale_format = format, m.summation = summation;
  return m;
}

constexpr Model other(Summation summation, int terms, int f = 24) {
  Model m = aligned(terms, f, rne_f32, -126);
  m.summation = summation;
  return m;
}

constexpr Model lowered(Result result, int floor) {
  Model m = aligned(32, 25, result, floor);
  m.summation = Summation::lowered;
  return m;
}

constexpr Model mx = scaled(aligned(32, 25, rz_f32, -133), 32, e8m0, Summation::aligned);
constexpr Model mxfp4 = scaled(aligned(64, 35, rz_f32, -139), 32, e8m0, Summation::grouped);
constexpr Model nvfp4 = scaled(aligned(64, 35, rz_f32, -139), 16, e4m3, Summation::grouped);

constexpr ModelRow rows[] = {
    {"volta_mma", "fp16", "f32", aligned(4, 23, rz_f32, -131), v100},
    {"volta_mma", "fp16", "f16", aligned(4, 23, rne_f16, -20), v100},
    {"turing_mma", "fp16", "f32", aligned(8, 24, rz_f32, -132), t4},
    {"turing_mma", "fp16", "f16", aligned(8, 24, rne_f16, -21), t4},
    {"ampere_mma", "fp16", "f32", aligned(8, 24, rz_f32, -132), a100},
    {"ampere_mma", "fp16", "f16", aligned(8, 24, rne_f16, -21), a100},
    {"ampere_mma", "bf16", "f32", aligned(8, 24, rz_f32, -132), a100},
    {"ampere_mma", "tf32", "f32", aligned(4, 24, rz_f32, -132), a100},
    {"ada_mma", fp8, "f32", aligned(16, 13, rz_e8m13, -132), ada_fp8},
    {"ada_mma", fp8, "f16", aligned(16, 13, rne_f16, -21), ada_fp8},
    {"ada_mma", "fp16", "f32", aligned(8, 24, rz_f32, -132), ada},
    {"ada_mma", "fp16", "f16", aligned(8, 24, rne_f16, -21), ada},
    {"ada_mma", "bf16", "f32", aligned(8, 24, rz_f32, -132), ada},
    {"ada_mma", "tf32", "f32", aligned(4, 24, rz_f32, -132), ada},
    {"hopper_mma", "fp16", "f32", aligned(16, 25, rz_f32, -133), h100},
    {"hopper_mma", "fp16", "f16", aligned(16, 25, rne_f16, -22), h100},
    {"hopper_mma", "bf16", "f32", aligned(16, 25, rz_f32, -133), h100},
    {"hopper_mma", "tf32", "f32", aligned(8, 25, rz_f32, -133), h100},
    {"hopper_wgmma", fp8, "f32", aligned(32, 13, rz_e8m13, -133), wgmma_fp8},
    {"hopper_wgmma", fp8, "f16", aligned(32, 13, rne_f16, -133), wgmma_half},
    {"hopper_wgmma", "fp16", "f32", aligned(16, 25, rz_f32, -133), wgmma},
    {"hopper_wgmma", "fp16", "f16", aligned(16, 25, rne_f16, -133), wgmma_half},
    {"hopper_wgmma", "bf16", "f32", aligned(16, 25, rz_f32, -133), wgmma},
    {"hopper_wgmma", "tf32", "f32", aligned(8, 25, rz_f32, -133), wgmma},
    {"sm90_mma_fp8_lowering", fp8, "f32", lowered(rz_f32, -133), lowering32},
    {"sm90_mma_fp8_lowering", fp8, "f16", lowered(rne_f16, -22), lowering16},
    {"sm100_mma_fp8_lowering", fp8, "f32", lowered(rz_f32, -133), lowering32},
    {"sm100_mma_fp8_lowering", fp8, "f16", lowered(rne_f16, -22), lowering16},
    {"blackwell_mma", "fp16", "f32", aligned(16, 25, rz_f32, -133), b200},
    {"blackwell_mma", "fp16", "f16", aligned(16, 25, rne_f16, -22), b200},
    {"blackwell_mma", "bf16", "f32", aligned(16, 25, rz_f32, -133), b200},
    {"blackwell_mma", "tf32", "f32", aligned(8, 25, rz_f32, -133), b200},
    {"blackwell_tcgen05", narrow, "f32", aligned(32, 25, rz_f32, -133), tcgen05},
    {"blackwell_tcgen05", narrow, "f16", aligned(32, 25, rne_f16, -133), tcgen05_half},
    {"blackwell_tcgen05", "fp16", "f32", aligned(16, 25, rz_f32, -133), block_scaled},
    {"blackwell_tcgen05", "fp16", "f16", aligned(16, 25, rne_f16, -133), wgmma_half},
    {"blackwell_tcgen05", "bf16", "f32", aligned(16, 25, rz_f32, -133), block_scaled},
    {"blackwell_tcgen05", "tf32", "f32", aligned(8, 25, rz_f32, -133), block_scaled},
    {"blackwell_mxfp8", narrow, "f32", mx, block_scaled},
    {"blackwell_mxfp4", "e2m1", "f32", mxfp4, four_bit},
    {"blackwell_nvfp4", "e2m1", "f32", nvfp4, four_bit},
    {"rtxblackwell_mma", narrow, "f32", aligned(32, 25, rz_f32, -133), rtx},
    {"rtxblackwell_mma", narrow, "f16", aligned(32, 25, rne_f16, -22), rtx_half},
    {"rtxblackwell_mma", "fp16", "f32", aligned(16, 25, rz_f32, -133), rtx_half},
    {"rtxblackwell_mma", "fp16", "f16", aligned(16, 25, rne_f16, -22), rtx_half},
    {"rtxblackwell_mma", "bf16", "f32", aligned(16, 25, rz_f32, -133), rtx_half},
    {"rtxblackwell_mma", "tf32", "f32", aligned(8, 25, rz_f32, -133), rtx_half},
    {"rtxblackwell_mma_k16", fp8, "f32", aligned(16, 25, rz_f32, -133), rtx_half},
    {"rtxblackwell_mma_k16", fp8, "f16", aligned(16, 25, rne_f16, -22), rtx_half},
    {"rtxblackwell_mxfp8", narrow, "f32", mx, "MMA-Sim; 1.5 M words of an RTX PRO 6000"},
    {"rtxblackwell_mxfp4", "e2m1", "f32", mxfp4, rtx_half},
    {"rtxblackwell_nvfp4", "e2m1", "f32", nvfp4, rtx_half},
    {"cdna1_mfma", "fp16", "f32", other(Summation::exact, 4), mi},
    {"cdna1_mfma", "bf16", "f32", other(Summation::exact, 2), mi},
    {"cdna1_mfma", "fp32", "f32", other(Summation::fma, 0), mi},
    {"cdna2_mfma", "fp16", "f32", other(Summation::flushed, 4), mi},
    {"cdna2_mfma", "bf16", "f32", other(Summation::flushed, 2), mi},
    {"cdna2_mfma", "fp32", "f32", other(Summation::fma, 0), mi},
    {"cdna2_mfma_bf16_1k", "bf16", "f32", other(Summation::flushed, 4), mi},
    {"cdna3_mfma", fnuz, "f32", other(Summation::cdna3_even_odd, 16), mi},
    {"cdna3_mfma", "fp16", "f32", other(Summation::cdna3, 8), mi},
    {"cdna3_mfma", "bf16", "f32", other(Summation::cdna3, 8), mi},
    {"cdna3_mfma", "tf32", "f32", other(Summation::cdna3, 4), mi},
    {"cdna3_mfma", "fp32", "f32", other(Summation::fma, 0), mi},
    {"fma_fp64", "fp64", "f64", other(Summation::fma, 0), "IEEE 754; MMA-Sim: every NVIDIA and CDNA2, CDNA3 unit"},
    {"fma_fp32", "", "f32", other(Summation::fma, 0), "IEEE 754"},
    {"exact", "", "f32", other(Summation::exact, 0), "the exact sum, rounded once"},
    {"fp64", "", "f32", other(Summation::binary64, 0), "binary64, k ascending, one rounding"},
    {"fp32_sequential", "", "f32", other(Summation::sequential, 0), "binary32, k ascending"},
    {"fp32_pairwise", "", "f32", other(Summation::pairwise, 0), "binary32, halves"},
    {"custom", "", "f32", Model{}, "every number on the command line"},
};

constexpr ModelAlias aliases[] = {
    {"v100", "volta_mma"},
    {"t4", "turing_mma"},
    {"a100", "ampere_mma"},
    {"a2", "ampere_mma"},
    {"ada", "ada_mma"},
    {"l40s", "ada_mma"},
    {"h100", "hopper_mma"},
    {"h200", "hopper_mma"},
    {"h100_wgmma", "hopper_wgmma"},
    {"h200_wgmma", "hopper_wgmma"},
    {"h100_mmasync", "sm90_mma_fp8_lowering"},
    {"h200_mmasync", "sm90_mma_fp8_lowering"},
    {"b200", "blackwell_mma"},
    {"b200_mmasync", "sm100_mma_fp8_lowering"},
};

/// Whether `word` is one of the words of `list`, separated by blanks.
bool holds(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t end = std::min(list.find(' '), list.size());
    if (list.substr(0, end) == word) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

}  // namespace

std::string_view summation_name(Summation summation) {
  switch (summation) {
    case Summation::aligned: return "aligned";
    case Summation::grouped: return "grouped";
    case Summation::cdna3: return "cdna3";
    case Summation::cdna3_even_odd: return "cdna3, even and odd";
    case Summation::exact: return "exact";
    case Summation::flushed: return "flushed, pairwise";
    case Summation::fma: return "fma";
    case Summation::sequential: return "sequential";
    case Summation::pairwise: return "pairwise";
    case Summation::binary64: return "binary64";
    default: return "two fp16 steps";
  }
}

std::span<const ModelRow> model_rows() { return rows; }
std::span<const ModelAlias> model_aliases() { return aliases; }

bool accepts(const ModelRow& row, std::string_view a, std::string_view b) {
  return row.inputs.empty() || (holds(row.inputs, a) && holds(row.inputs, b));
}

std::string_view model_called(std::string_view name) {
  if (const ModelAlias* alias = find_by_name(aliases, name)) return alias->model;
  if (find_by_name(rows, name)) return name;
  std::vector<std::string_view> known;
  for (const ModelRow& row : rows)
    if (known.empty() || known.back() != row.name) known.push_back(row.name);
  throw UnknownName(unknown_name("accumulation model", name, known));
}

const ModelRow& find_model(std::string_view name, std::string_view a, std::string_view b,
                           std::string_view output) {
  name = model_called(name);
  std::string has;
  for (const ModelRow& row : rows) {
    if (row.name != name) continue;
    if (row.output == output && accepts(row, a, b)) return row;
    has += (has.empty() ? "" : ", ") + std::string(row.inputs) + " -> " + std::string(row.output);
  }
  throw std::invalid_argument(std::string(name) + " does not multiply " + std::string(a) + " by " +
                              std::string(b) + " into " + std::string(output) + "; it has " + has);
}

}  // namespace fp8scope
