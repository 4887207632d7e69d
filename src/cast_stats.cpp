#include "src/cast_stats.hpp"

#include <cmath>

#include "src/stable_log.hpp"

namespace fp8scope {
namespace {

using F = TensorFacts;
using C = CastResult;

double elements(const F& f) { return static_cast<double>(f.rows()) * static_cast<double>(f.cols()); }
double measured(const F& f, const C& c) {
  return static_cast<double>(f.moments().finite - c.sums.lost);
}
/// sum y^2 = sum (x - e)^2.
double output_power(const F& f, const C& c) {
  return f.moments().power2 - 2.0 * c.sums.cross + c.sums.noise();
}

constexpr Statistic table[] = {
    {"amax", "1", "max |x|", [](const F&, const C& c) { return double{c.amax}; }},
    {"min_nonzero", "1", "min |x| over x != 0; 0 if there is none", [](const F& f, const C&) { return double{f.min_nonzero()}; }},
    {"rms", "1", "sqrt(sum x^2 / n)", [](const F& f, const C&) { return f.rms(); }},
    {"kurtosis", "1", "E[(x-mean)^4] / E[(x-mean)^2]^2; 3 if normal",
     [](const F& f, const C&) { return f.kurtosis(); }},
    {"mse", "1", "sum e^2 / n (torchao, Transformer Engine: mse)",
     [](const F& f, const C& c) { return c.sums.noise() / measured(f, c); }},
    {"rmse", "1", "sqrt(mse)",
     [](const F& f, const C& c) { return std::sqrt(c.sums.noise() / measured(f, c)); }},
    {"sqnr_db", "dB", "10 log10(sum x^2 / sum e^2) (torchao: compute_error)",
     [](const F& f, const C& c) { return decibels(f.moments().power2 / c.sums.noise()); }},
    {"bulk_sqnr_db", "dB", "the same without the top 0.1 % of magnitudes",
     [](const F&, const C& c) { return decibels(c.bulk_power / c.sums.noise_bulk); }},
    {"row_median_sqnr_db", "dB", "the same of the median row",
     [](const F&, const C& c) { return decibels(1.0 / c.median_row_noise); }},
    {"max_abs_error", "1", "max |e|", [](const F&, const C& c) { return double{c.sums.max_abs}; }},
    {"max_rel_error", "1", "max |e| / |x| over x != 0",
     [](const F&, const C& c) { return double{c.sums.max_rel}; }},
    {"bias", "1", "mean of y - x",
     [](const F& f, const C& c) { return -c.sums.error / measured(f, c); }},
    {"cosine", "1", "sum xy / sqrt(sum x^2 sum y^2)",
     [](const F& f, const C& c) {
       return (f.moments().power2 - c.sums.cross) /
              std::sqrt(f.moments().power2 * output_power(f, c));
     }},
    {"calc_diff", "1", "1 - 2 sum xy / (sum x^2 + sum y^2) (DeepGEMM: calc_diff)",
     [](const F& f, const C& c) {
       return c.sums.noise() / (f.moments().power2 + output_power(f, c));
     }},
    {"underflow", "1", "share of elements x != 0 whose code is +-0 (Transformer Engine: underflows%)",
     [](const F& f, const C& c) { return static_cast<double>(c.sums.underflow) / elements(f); }},
    {"overflow", "1", "share with |x| > MAX scale_inv (Transformer Engine: overflows%)",
     [](const F& f, const C& c) { return static_cast<double>(c.sums.overflow) / elements(f); }},
    {"clipped", "1", "share that saturation changed: |x scale| beyond the last rounding edge of MAX",
     [](const F& f, const C& c) { return static_cast<double>(c.sums.clipped) / elements(f); }},
    {"clipped_mass", "1", "sum (|x| - |y|) over clipped elements / sum |x|",
     [](const F& f, const C& c) { return c.sums.clipped_loss / f.moments().absolute; }},
    {"subnormal", "1", "share whose code is subnormal in the element format",
     [](const F& f, const C& c) { return static_cast<double>(c.sums.subnormal) / elements(f); }},
    {"scale_inv_min", "1", "smallest dequantise factor",
     [](const F&, const C& c) { return double{c.scale_inv_min}; }},
    {"scale_inv_max", "1", "largest dequantise factor",
     [](const F&, const C& c) { return double{c.scale_inv_max}; }},
    {"headroom_log2", "1", "min over blocks of log2(MAX scale_inv / amax); negative: it clips",
     [](const F&, const C& c) { return stable_log2(c.headroom); }},
    {"amax_age", "1", "steps since the amax in use was seen; 0: this step's; -1: none yet",
     [](const F&, const C& c) { return static_cast<double>(c.age); }},
    {"staleness", "1", "amax in use / amax of this step",
     [](const F&, const C& c) { return double{c.amax_in_use} / double{c.amax}; }},
    {"frozen_steps", "1", "updates in a row that left the scale as it was: the amax was 0, infinite or NaN",
     [](const F&, const C& c) { return static_cast<double>(c.frozen); }},
    {"scale_to_current", "1", "max over blocks of scale / (MAX / amax of this step); above 1 it clips",
     [](const F&, const C& c) { return 1.0 / c.headroom; }},
    {"floored", "1", "share of blocks whose amax lies below the recipe's floor",
     [](const F&, const C& c) { return static_cast<double>(c.floored) / static_cast<double>(c.blocks); }},
    {"underflows%", "%", "100 underflow, by Transformer Engine's name and definition",
     [](const F& f, const C& c) { return 100.0 * static_cast<double>(c.sums.underflow) / elements(f); }},
    {"overflows%", "%", "100 overflow, by Transformer Engine's name and definition",
     [](const F& f, const C& c) { return 100.0 * static_cast<double>(c.sums.overflow) / elements(f); }},
};

constexpr Count count_table[] = {
    {"n", "elements",
     [](const F& f, const C&) { return static_cast<std::uint64_t>(f.rows() * f.cols()); }},
    {"nan_count", "NaN among them", [](const F& f, const C&) { return f.moments().nans; }},
    {"inf_count", "infinities among them", [](const F& f, const C&) { return f.moments().infs; }},
    {"lost_count", "finite elements that the cast made NaN or infinite",
     [](const F&, const C& c) { return c.sums.lost; }},
    {"underflow_count", "x != 0 with code +-0", [](const F&, const C& c) { return c.sums.underflow; }},
    {"block_count", "blocks", [](const F&, const C& c) { return c.blocks; }},
    {"clipped_count", "elements that saturation changed",
     [](const F&, const C& c) { return c.sums.clipped; }},
};

}  // namespace

std::span<const Statistic> statistics() { return table; }
std::span<const Count> counts() { return count_table; }

}  // namespace fp8scope
