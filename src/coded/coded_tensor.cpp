#include "src/coded/coded_tensor.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "sim/convert.hpp"
#include "src/array.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"

namespace fp8scope {
namespace {

constexpr const char* code_names[] = {"codes", "q", "x_codes", "y", "out", "data"};
constexpr const char* scale_names[] = {"scale_inv_codes", "scale_inv", "scales", "scale", "x_scale_inv",
                                       "s",               "sf",        "e8m0",   "sinv"};
constexpr const char* x_names[] = {"x", "input", "high_precision", "tensor"};

/// [rows, cols] to [cols, rows].
template <class T>
std::vector<T> turned(const std::vector<T>& values, std::int64_t rows, std::int64_t cols) {
  std::vector<T> t(values.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c) t[c * rows + r] = values[r * cols + c];
  return t;
}

std::string find_name(const h5::Group& root, const std::string& asked, std::span<const char* const> known,
                      const std::string& what, bool required) {
  if (!asked.empty()) return asked;
  for (const char* name : known)
    if (root.has(name)) return name;
  if (!required) return "";
  std::string all;
  for (const char* name : known) all += (all.empty() ? "" : ", ") + std::string(name);
  throw DataError(fmt::format("{}: no dataset of {}; looked for {}; name it with --{}", root.where(), what, all, what));
}

/// A name of torch or of the table of formats.
std::optional<Format> format_called(const std::string& word) {
  if (word.empty()) return std::nullopt;
  for (const NamedFormat& row : formats)
    if (row.torch_name == word) return row.format;
  return parse_format(word);
}

std::optional<Format> format_of(const h5::Dataset& dataset, const std::string& asked) {
  if (!asked.empty()) return format_called(asked);
  for (const char* name : {"fp_format", "encoding"})
    if (const auto text = dataset.text(name)) return format_called(*text);
  return std::nullopt;
}

std::pair<std::int64_t, std::int64_t> two_axes(const h5::Shape& shape) {
  if (shape.empty()) return {1, 1};
  std::int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  return {rows, shape.back()};
}

void read_codes(const h5::Group& root, const CodedNames& names, CodedTensor& t) {
  const h5::Dataset dataset = root.dataset(t.codes_name);
  const auto format = format_of(dataset, names.format);
  std::tie(t.rows, t.cols) = two_axes(dataset.shape());
  if (dataset.type() != h5::Type::u8 && dataset.type() != h5::Type::u16 && dataset.type() != h5::Type::i8)
    throw DataError(fmt::format("{}: codes are bytes or 16-bit words, these are {}", dataset.where(),
                                h5::type_name(dataset.type())));
  if (!format && t.has_x && t.x.size() == 2 * static_cast<std::size_t>(t.rows * t.cols)) t.format = parse_format("e2m1");
  else if (!format)
    throw DataError(fmt::format("{}: does not say what its codes encode; name it with --format, e.g. e4m3", dataset.where()));
  else t.format = *format;
  const auto words = dataset.values<std::int64_t>();
  for (const std::int64_t word : words) t.codes.push_back(static_cast<std::uint16_t>(word & (dataset.type() == h5::Type::u16 ? 0xffff : 0xff)));
  const bool twice = t.has_x && t.x.size() == 2 * t.codes.size();
  if (t.format.bits() == 4 && (twice || names.packed || dataset.text("layout") == "fp4_pairs")) {
    t.packed = true, t.cols *= 2;
    std::vector<std::uint16_t> nibbles;
    for (const std::uint16_t pair : t.codes) nibbles.push_back(pair & 15), nibbles.push_back(pair >> 4);
    t.codes = std::move(nibbles);
  }
  for (const std::uint16_t code : t.codes)
    if (code >= t.format.codes())
      throw DataError(fmt::format("{}: holds the code {:#x}; {} has {}", dataset.where(), code, format_name(t.format),
                                  t.format.codes()));
}

/// Whether `count` blocks of `side` cover `all`, exactly or padded to a multiple of 4.
bool covers(std::int64_t side, std::int64_t all, std::int64_t count) {
  const std::int64_t needed = side > 0 ? (all + side - 1) / side : 1;
  return count == needed || (needed > 1 && count == (needed + 3) / 4 * 4);
}

/// The side of a block from the number of blocks; -1 if none fits.
std::int64_t side_of(std::int64_t all, std::int64_t count) {
  if (count == 1) return all == 1 ? 1 : 0;
  if (count == all) return 1;
  for (const std::int64_t side : {128, 32, 16, 64, 256, 8, 4, 2, 512, 1024})
    if ((all + side - 1) / side == count) return side;
  if (all % count == 0) return all / count;
  for (const std::int64_t side : {128, 32, 16, 64, 256})
    if (covers(side, all, count)) return side;
  return -1;
}

/// Scales as [down, across] of the file, padding included.
struct RawScales {
  std::vector<std::uint32_t> stored;
  std::int64_t rows, cols;
  std::optional<Format> codes;
};

RawScales read_scales(const h5::Group& root, const CodedNames& names, const CodedTensor& t) {
  const h5::Dataset dataset = root.dataset(t.scales_name);
  RawScales raw{};
  std::tie(raw.rows, raw.cols) = two_axes(dataset.shape());
  if (dataset.shape().size() == 1 && raw.cols == t.rows && t.rows != 1) std::swap(raw.rows, raw.cols);
  if (dataset.type() == h5::Type::f32) {
    for (const float value : dataset.values<float>()) raw.stored.push_back(float_bits(value));
    return raw;
  }
  if (dataset.type() == h5::Type::u8) {
    raw.codes = format_of(dataset, names.scale_format).value_or(e8m0);
    for (const std::int64_t word : dataset.values<std::int64_t>()) raw.stored.push_back(static_cast<std::uint32_t>(word));
    return raw;
  }
  if (dataset.type() == h5::Type::i32 || dataset.type() == h5::Type::u32) {
    raw.codes = e8m0, raw.cols *= 4;
    for (const std::int64_t word : dataset.values<std::int64_t>())
      for (int byte = 0; byte < 4; ++byte) raw.stored.push_back(static_cast<std::uint32_t>(word >> (8 * byte)) & 255u);
    return raw;
  }
  throw DataError(fmt::format("{}: scales are binary32, bytes, or four bytes to an int32; these are {}", dataset.where(),
                              h5::type_name(dataset.type())));
}

void place_scales(const RawScales& raw, const CodedNames& names, CodedTensor& t) {
  struct Way {
    BlockShape block;
    bool turned;
  };
  std::vector<Way> ways;
  for (const bool turned : {false, true}) {
    const std::int64_t down = turned ? raw.cols : raw.rows, across = turned ? raw.rows : raw.cols;
    BlockShape block{side_of(t.rows, down), side_of(t.cols, across)};
    if (!names.block.empty()) {
      block = parse_block(names.block, "--block");
      if (!covers(block.rows, t.rows, down) || !covers(block.cols, t.cols, across)) continue;
    }
    if (block.rows >= 0 && block.cols >= 0) ways.push_back({block, turned});
  }
  // A row of tiles is what libraries call 1x128; prefer the shape that libraries use.
  const auto known = [](const Way& w) {
    const auto side = [](std::int64_t n) { return n == 0 || n == 1 || n == 16 || n == 32 || n == 64 || n == 128; };
    return side(w.block.rows) && side(w.block.cols);
  };
  std::ranges::stable_sort(ways, std::greater{}, known);
  if (ways.empty())
    throw DataError(fmt::format("{}: {} scales [{}, {}] do not fit a tensor of [{}, {}]; name the block with --block", t.where,
                                raw.stored.size(), raw.rows, raw.cols, t.rows, t.cols));
  t.block = ways[0].block, t.scales_turned = ways[0].turned, t.scale_codes = raw.codes;
  const BlockGrid grid = t.grid();
  for (std::int64_t d = 0; d < grid.down(); ++d)
    for (std::int64_t a = 0; a < grid.across(); ++a) {
      const std::uint32_t word = raw.stored[t.scales_turned ? a * raw.cols + d : d * raw.cols + a];
      t.stored.push_back(word);
      t.factors.push_back(raw.codes ? decode(*raw.codes, word) : bits_float(word));
    }
}

void read_x(const std::string& path, CodedTensor& t, std::int64_t& x_rows) {
  const bool other_file = t.x_name.find(".h5:") != std::string::npos || t.x_name.ends_with(".npy");
  const auto reader = open_array(other_file ? t.x_name : path + ":/" + t.x_name);
  t.x.resize(reader->size());
  reader->read_rows(0, reader->rows(), t.x.data());
  t.x_dtype = reader->dtype();
  x_rows = reader->rows();
  t.has_x = true;
}

}  // namespace

CodedTensor transposed(const CodedTensor& t) {
  CodedTensor out = t;
  const BlockGrid grid = t.grid();
  std::swap(out.rows, out.cols), std::swap(out.block.rows, out.block.cols);
  out.codes = turned(t.codes, t.rows, t.cols);
  out.stored = turned(t.stored, grid.down(), grid.across());
  out.factors = turned(t.factors, grid.down(), grid.across());
  if (t.has_x) out.x = turned(t.x, t.rows, t.cols);
  return out;
}

CodedTensor read_coded(const std::string& path, const CodedNames& names) {
  const h5::Group root = h5::open_file(path);
  CodedTensor t;
  t.where = root.where();
  t.x_name = find_name(root, names.x, x_names, "x", false);
  t.codes_name = find_name(root, names.codes, code_names, "codes", true);
  t.scales_name = find_name(root, names.scales, scale_names, "scales", true);
  std::int64_t x_rows = 0;
  if (!t.x_name.empty()) read_x(path, t, x_rows);
  read_codes(root, names, t);
  if (t.codes.empty()) throw DataError(fmt::format("{}: {} is empty", t.where, t.codes_name));
  if (t.has_x && t.x.size() != t.codes.size())
    throw DataError(fmt::format("{}: {} has {} elements, {} has {}", t.where, t.x_name, t.x.size(), t.codes_name,
                                t.codes.size()));
  if (t.has_x && x_rows == t.cols && x_rows != t.rows) {  // the transposed copy that libraries make for wgrad
    t.x = turned(t.x, t.cols, t.rows);
    t.x_turned = true;
  }
  place_scales(read_scales(root, names, t), names, t);
  if (t.scale_codes && *t.scale_codes != e8m0 && t.scales_name == "scale_inv_codes" && root.has("scale_inv")) {
    // The codes lie below a factor of the tensor; what they stand for together is beside them.
    const auto factors = root.dataset("scale_inv").values<float>();
    if (factors.size() == t.factors.size()) t.factors = factors;
  }
  return t;
}

}  // namespace fp8scope
