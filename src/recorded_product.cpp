#include "src/recorded_product.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "sim/convert.hpp"
#include "sim/models.hpp"
#include "src/errors.hpp"
#include "src/parallel.hpp"

namespace fp8scope {
namespace {

bool is_float(const h5::Dataset& data) { return data.type() == h5::Type::f32; }

/// FP32 scales, [], [1], or a matrix of one scale per block.
ProductScales read_scales(const h5::Dataset& data, std::int64_t rows, std::int64_t k) {
  ProductScales scales;
  scales.scale_inv = data.values<float>();
  h5::Shape shape = data.shape();
  while (shape.size() < 2) shape.insert(shape.begin(), 1);
  // Blocks that do not divide the matrix are as long as a power of two.
  const auto extent = [](std::int64_t whole, std::int64_t parts) -> std::int64_t {
    if (parts <= 1) return 0;
    if (whole % parts == 0) return whole / parts;
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>((whole + parts - 1) / parts)));
  };
  if (shape.size() == 2 && shape[0] >= 1 && shape[1] >= 1)
    scales.grid = {rows, k, {extent(rows, shape[0]), extent(k, shape[1])}};
  if (shape.size() != 2 || scales.grid.blocks() != std::ssize(scales.scale_inv))
    throw DataError(fmt::format("{}: scales of shape {} are no blocks of a matrix [{}, {}]", data.where(),
                                h5::shape_text(data.shape()), rows, k));
  return scales;
}

TileShape tile_shape(const h5::Shape& d, const h5::Shape& a, const h5::Shape& b) {
  const auto at = [](const h5::Shape& s, std::size_t i) { return i < s.size() ? static_cast<std::size_t>(s[i]) : 0; };
  if (d.size() == 2 && a.size() == 2 && b.size() == 2) return {1, at(d, 0), at(d, 1)};
  if (d.size() == 3 && a.size() == 3 && b.size() == 3) return {at(d, 0), at(d, 1), at(d, 2)};
  return {at(d, 0), 1, 1};
}

void read_all_scales(const h5::Group& group, RecordedProduct& dump) {
  if (!group.has("scale_a") && !group.has("scale_b")) return;
  const h5::Dataset scale_a = group.dataset("scale_a"), scale_b = group.dataset("scale_b");
  if (is_float(scale_a) && is_float(scale_b)) {
    if (dump.shape.tiles != 1)
      throw DataError(fmt::format("{}: FP32 scales belong to one product of matrices, d [m, n]", dump.where));
    dump.scales_a = read_scales(scale_a, static_cast<std::int64_t>(dump.shape.m), static_cast<std::int64_t>(dump.k));
    dump.scales_b = read_scales(scale_b, static_cast<std::int64_t>(dump.shape.n), static_cast<std::int64_t>(dump.k));
    return;
  }
  dump.scale_a = read_words(group, "scale_a");
  dump.scale_b = read_words(group, "scale_b");
  const std::size_t rows_a = dump.a.size() / dump.k, rows_b = dump.b.size() / dump.k;
  if (dump.scale_a.size() % rows_a != 0 || dump.scale_a.size() / rows_a != dump.scale_b.size() / rows_b)
    throw DataError(fmt::format("{}: scale_a and scale_b do not fit", dump.where));
  dump.scales_per_row = dump.scale_a.size() / rows_a;
}

/// Operands and scales of part of a row.
Terms part(const std::vector<Operand>& row, const std::vector<Operand>& scales, std::size_t first, std::size_t count) {
  return {std::span(row).subspan(first, count), scales};
}

/// What a thread keeps between words.
struct RowMemory {
  std::vector<Operand> a, b, scale_a, scale_b;
};

void load(std::vector<Operand>& row, const std::vector<Operand>& all, std::size_t r, std::size_t k) {
  row.assign(all.begin() + static_cast<std::ptrdiff_t>(r * k), all.begin() + static_cast<std::ptrdiff_t>((r + 1) * k));
}

void load_scales(std::vector<Operand>& scales, const Model& model, const std::vector<std::uint32_t>& codes,
                 std::size_t r, std::size_t per_row) {
  scales.clear();
  for (std::size_t s = 0; s < per_row; ++s)
    scales.push_back(unpack_scale(model.scale_format, codes[r * per_row + s]));
}

/// The sums of a schedule's chunks, brought together.
float scheduled_sum(const RecordedProduct& dump, const ProductModel& m, const RowMemory& x, std::size_t ra, std::size_t rb, float sum) {
  const Schedule& s = m.schedule;
  const bool scales_inside = s.order != ScaleOrder::plain;
  std::size_t end = 0;
  for (std::size_t k = 0; k < dump.k; k = end) {
    end = std::min(k + (k == 0 && s.first != 0 ? s.first : s.every), dump.k);
    const float p = dot(m.model, part(x.a, {}, k, end - k), part(x.b, {}, k, end - k), 0.0f);
    const std::size_t at = s.late_scale ? end - 1 : k;
    sum = promote(s.order, sum, p, scales_inside ? dump.scales_a.at(ra, at) : 1.0f,
                  scales_inside ? dump.scales_b.at(rb, at) : 1.0f);
  }
  return sum;
}

std::uint32_t recompute_word(const RecordedProduct& dump, const ProductModel& m, std::size_t i, RowMemory& x) {
  const std::size_t ra = dump.shape.a_row(i), rb = dump.shape.b_row(i);
  load(x.a, dump.a, ra, dump.k), load(x.b, dump.b, rb, dump.k);
  load_scales(x.scale_a, m.model, dump.scale_a, ra, dump.scales_per_row);
  load_scales(x.scale_b, m.model, dump.scale_b, rb, dump.scales_per_row);
  float sum = dump.c_used && !dump.c.empty() ? decode(dump.output_format(), dump.c[i]) : 0.0f;
  if (m.schedule.every == 0)
    sum = dot(m.model, part(x.a, x.scale_a, 0, dump.k), part(x.b, x.scale_b, 0, dump.k), sum);
  else
    sum = scheduled_sum(dump, m, x, ra, rb, sum);
  if (m.schedule.order == ScaleOrder::plain && dump.scales_a.single() && dump.scales_b.single())
    sum *= dump.scales_a.scale_inv[0] * dump.scales_b.scale_inv[0];
  return dump.output_word(sum);
}

}  // namespace

bool is_product(const h5::Group& group) { return group.has("d") && group.dataset("d").shape().size() >= 2; }

std::string ProductModel::text() const {
  if (schedule.every == 0) return name;
  std::string text = fmt::format("{} promoted every {}", name, schedule.every);
  if (schedule.first != 0) text += fmt::format(", first after {}", schedule.first);
  for (const NamedScaleOrder& order : scale_orders)
    if (order.order == schedule.order && schedule.order != ScaleOrder::plain)
      return text + fmt::format(", {} order{}", order.name, schedule.late_scale ? ", scales of a chunk's end" : "");
  return text;
}

RecordedProduct read_product(const h5::Group& group, const std::string& name) {
  RecordedProduct dump;
  read_recorded(group, name, dump);
  const h5::Shape d = group.dataset("d").shape(), a = group.dataset("a").shape();
  dump.shape = tile_shape(d, a, group.dataset("b").shape());
  // A product of matrices may leave C out; a list of words never does.
  if (d.size() < 2 || group.has("c")) dump.c = read_words(group, "c");
  dump.k = a.empty() ? 0 : static_cast<std::size_t>(a.back());
  const TileShape& s = dump.shape;
  if (dump.d.empty() || dump.d.size() != s.words() || dump.k == 0 || dump.a.size() != s.tiles * s.m * dump.k ||
      dump.b.size() != s.tiles * s.n * dump.k || (!dump.c.empty() && dump.c.size() != dump.d.size()) ||
      (d.size() < 2 && dump.c.empty()))
    throw DataError(fmt::format("{}: a, b, c and d do not fit: {}, {}, {} and {} elements", dump.where,
                                dump.a.size(), dump.b.size(), dump.c.size(), dump.d.size()));
  read_all_scales(group, dump);
  return dump;
}

std::uint32_t recompute_word(const RecordedProduct& dump, const ProductModel& model, std::size_t i) {
  RowMemory memory;
  return recompute_word(dump, model, i, memory);
}

std::vector<std::uint32_t> recompute(const RecordedProduct& dump, const ProductModel& model) {
  constexpr std::size_t chunk = 256;
  std::vector<std::uint32_t> words(dump.words());
  run_in_parallel((words.size() + chunk - 1) / chunk, [&](std::size_t task) {
    RowMemory memory;
    for (std::size_t i = task * chunk; i < std::min(words.size(), (task + 1) * chunk); ++i)
      words[i] = recompute_word(dump, model, i, memory);
  });
  return words;
}

}  // namespace fp8scope
