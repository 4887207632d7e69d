#include "src/array.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <limits>

#include "sim/convert.hpp"
#include "src/errors.hpp"
#include "src/npy.hpp"

namespace fp8scope {

namespace {

std::int64_t last_extent(const std::vector<std::int64_t>& shape) {
  return shape.empty() ? 1 : shape.back();
}

/// The format that a program's or torch's name means. Throws UnknownName.
Format format_of(std::string_view encoding) {
  for (const NamedFormat& row : formats)
    if (!row.torch_name.empty() && row.torch_name == encoding) return row.format;
  return parse_format(encoding);
}

/// As format_of(), for a name that a file gives: an unknown one is the file's fault.
Format stored_format(std::string_view encoding, const std::string& where) {
  try {
    return format_of(encoding);
  } catch (const std::invalid_argument& error) {
    throw DataError(fmt::format("{}: attribute 'encoding': {}", where, error.what()));
  }
}

h5::Type code_type(const Format& format) {
  return format.bits() <= 8 ? h5::Type::u8 : format.bits() <= 16 ? h5::Type::u16 : h5::Type::u32;
}

std::vector<float> all_values(const Format& format) {
  std::vector<float> values(format.codes());
  for (std::uint32_t code = 0; code < format.codes(); ++code) values[code] = decode(format, code);
  return values;
}

template <class T>
void convert(const void* stored, std::int64_t count, float* out) {
  const auto* values = static_cast<const T*>(stored);
  for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<float>(values[i]);
}

template <class Code>
void look_up(const std::vector<float>& values, const void* stored, std::int64_t count, float* out) {
  const auto* codes = static_cast<const Code*>(stored);
  const auto mask = static_cast<std::uint32_t>(values.size() - 1);  // unused high bits of a code
  for (std::int64_t i = 0; i < count; ++i) out[i] = values[codes[i] & mask];
}

void widen_bf16(const void* stored, std::int64_t count, float* out) {
  const auto* bits = static_cast<const std::uint16_t*>(stored);
  for (std::int64_t i = 0; i < count; ++i)
    out[i] = std::bit_cast<float>(std::uint32_t{bits[i]} << 16);
}

h5::Type stored_type(NpyType type) {
  switch (type) {
    case NpyType::f2: return h5::Type::fp16;
    case NpyType::f4: return h5::Type::f32;
    case NpyType::f8: return h5::Type::f64;
    case NpyType::u1:
    case NpyType::v1: return h5::Type::u8;
    case NpyType::u2:
    case NpyType::v2: return h5::Type::u16;
  }
  return h5::Type::other;
}

class NpyArray : public ArrayReader {
 public:
  NpyArray(const std::string& path, std::string_view encoding)
      : npy_(path), decoder_(stored_type(npy_.type()), encoding, fmt::format("'{}'", path)) {
    if (encoding.empty() && (npy_.type() == NpyType::v1 || npy_.type() == NpyType::v2))
      throw DataError(
          fmt::format("'{}': elements of type {} have no meaning of their own; state it, "
                      "for instance bf16 or e4m3",
                      path, npy_descr(npy_.type())));
  }
  const std::vector<std::int64_t>& shape() const override { return npy_.shape(); }
  std::string dtype() const override { return decoder_.name(); }
  void read_rows(std::int64_t first, std::int64_t count, float* out) const override {
    stored_.resize(static_cast<std::size_t>(count * cols()) * decoder_.bytes());
    npy_.read(first * cols(), count * cols(), stored_.data());
    decoder_.decode(stored_.data(), count * cols(), out);
  }

 private:
  NpyReader npy_;
  ElementDecoder decoder_;
  mutable std::vector<std::byte> stored_;
};

class Hdf5Array : public ArrayReader {
 public:
  Hdf5Array(h5::Dataset dataset, std::string_view encoding)
      : dataset_(std::move(dataset)),
        decoder_(dataset_.type(),
                 encoding.empty() ? dataset_.text("encoding").value_or("") : std::string(encoding),
                 dataset_.where()) {}
  const std::vector<std::int64_t>& shape() const override { return dataset_.shape(); }
  std::string dtype() const override { return decoder_.name(); }
  void read_rows(std::int64_t first, std::int64_t count, float* out) const override {
    stored_.resize(static_cast<std::size_t>(count * cols()) * decoder_.bytes());
    dataset_.read_rows(first, count, stored_.data());
    decoder_.decode(stored_.data(), count * cols(), out);
  }

 private:
  h5::Dataset dataset_;
  ElementDecoder decoder_;
  mutable std::vector<std::byte> stored_;
};

/// Position of the colon between file and dataset; npos in the name of a .npy file.
std::size_t colon_of(const std::string& name) {
  for (const std::string_view ending : {".h5:", ".hdf5:", ".nc:"})
    if (const auto at = name.find(ending); at != std::string::npos) return at + ending.size() - 1;
  return std::string::npos;
}

}  // namespace

std::int64_t ArrayReader::rows() const {
  std::int64_t rows = 1;
  for (std::size_t axis = 0; axis + 1 < shape().size(); ++axis) rows *= shape()[axis];
  return rows;
}

std::int64_t ArrayReader::cols() const { return last_extent(shape()); }

std::string array_file(const std::string& name) { return name.substr(0, colon_of(name)); }

std::unique_ptr<ArrayReader> open_array(const std::string& name, std::string_view encoding) {
  if (!encoding.empty()) format_of(encoding);  // an unknown one is the user's fault
  if (name.ends_with(".npy")) return std::make_unique<NpyArray>(name, encoding);
  const std::size_t colon = colon_of(name);
  if (colon == std::string::npos || colon + 1 == name.size())
    throw UsageError(
        fmt::format("'{}' is not the name of an array; write IN.npy or IN.h5:DATASET", name));
  const h5::Group root = h5::open_file(name.substr(0, colon));
  return std::make_unique<Hdf5Array>(root.dataset(name.substr(colon + 1)), encoding);
}

ElementDecoder::ElementDecoder(h5::Type type, std::string_view encoding, const std::string& where)
    : type_(type) {
  const bool is_code = type == h5::Type::u8 || type == h5::Type::u16 || type == h5::Type::u32;
  if (!encoding.empty()) {
    format_ = stored_format(encoding, where);
    codes_ = is_code && code_type(format_) == type;
    const bool same =
        (type == h5::Type::bf16 && format_ == bf16) || (type == h5::Type::fp16 && format_ == fp16);
    if (!codes_ && !same)
      throw DataError(fmt::format("{}: holds {}, which cannot be codes of {}", where,
                                  h5::type_name(type), encoding));
  } else if (type == h5::Type::bf16 || type == h5::Type::fp16) {
    format_ = type == h5::Type::bf16 ? bf16 : fp16;
  } else if (type != h5::Type::f32 && type != h5::Type::f64 && type != h5::Type::u8 &&
             type != h5::Type::u16) {
    throw DataError(
        fmt::format("{}: holds {}; expected bfloat16, float16, float32, float64, uint8 or uint16",
                    where, h5::type_name(type)));
  }
  if ((codes_ && type != h5::Type::u32 && format_ != bf16) || type == h5::Type::fp16)
    values_ = all_values(format_);
}

std::string ElementDecoder::name() const {
  return codes_ ? format_name(format_) : std::string(h5::type_name(type_));
}

void ElementDecoder::decode(const void* stored, std::int64_t count, float* out) const {
  if (count == 0) return;  // `stored` and `out` may then be null
  if (type_ == h5::Type::bf16 || (codes_ && format_ == bf16)) return widen_bf16(stored, count, out);
  if (!values_.empty())
    return type_ == h5::Type::u8 ? look_up<std::uint8_t>(values_, stored, count, out)
                                 : look_up<std::uint16_t>(values_, stored, count, out);
  if (codes_) {
    const auto* codes = static_cast<const std::uint32_t*>(stored);
    for (std::int64_t i = 0; i < count; ++i) out[i] = fp8scope::decode(format_, codes[i]);
    return;
  }
  switch (type_) {
    case h5::Type::f32:
      std::memcpy(out, stored, static_cast<std::size_t>(count) * sizeof(float));
      return;
    case h5::Type::f64: return convert<double>(stored, count, out);
    case h5::Type::u8: return convert<std::uint8_t>(stored, count, out);
    default: return convert<std::uint16_t>(stored, count, out);
  }
}

int ArrayFile::add(const std::string& name, h5::Type type, const h5::Shape& shape) {
  arrays_.push_back(file_.root().create_dataset(name, type, shape,
                                                {h5::row_chunk(shape, h5::type_bytes(type)), 1}));
  return static_cast<int>(arrays_.size()) - 1;
}

int ArrayFile::add_codes(const std::string& name, const Format& format, const h5::Shape& shape,
                         const std::string& long_name) {
  const int array = add(name, code_type(format), shape);
  std::string torch_name;
  for (const NamedFormat& row : formats)
    if (row.format == format) torch_name = row.torch_name;
  set(array, "encoding", torch_name.empty() ? format_name(format) : torch_name);
  set(array, "fp_format", format_name(format));
  set(array, "units", std::string("1"));
  set(array, "long_name", long_name);
  return array;
}

int ArrayFile::add_codes(const std::string& name, int bits, const std::string& encoding, const h5::Shape& shape,
                         const std::string& long_name) {
  const int array = add(name, bits <= 8 ? h5::Type::u8 : h5::Type::u16, shape);
  set(array, "encoding", encoding);
  set(array, "units", std::string("1"));
  set(array, "long_name", long_name);
  return array;
}

int ArrayFile::add_doubles(const std::string& name, const h5::Shape& shape, const std::string& units,
                           const std::string& long_name) {
  const int array = add(name, h5::Type::f64, shape);
  set(array, "units", units);
  set(array, "long_name", long_name);
  return array;
}

int ArrayFile::add_floats(const std::string& name, const h5::Shape& shape, const std::string& units,
                          const std::string& long_name) {
  const int array = add(name, h5::Type::f32, shape);
  set(array, "units", units);
  set(array, "long_name", long_name);
  return array;
}

void ArrayFile::set(int array, const std::string& attribute, const h5::Value& value) {
  arrays_.at(static_cast<std::size_t>(array)).set(attribute, value);
}

void ArrayFile::set_root(const std::string& attribute, const h5::Value& value) {
  file_.root().set(attribute, value);
}

void ArrayFile::write(int array, h5::Type type, std::int64_t first, std::int64_t count,
                      const void* values) {
  h5::Dataset& dataset = arrays_.at(static_cast<std::size_t>(array));
  if (dataset.type() != type)
    throw std::invalid_argument(fmt::format("{}: holds {}, not {}", dataset.where(),
                                            h5::type_name(dataset.type()), h5::type_name(type)));
  dataset.write_rows(first, count, values);
}

void ArrayFile::write_rows(int array, std::int64_t first, std::int64_t count,
                           const std::uint8_t* values) {
  write(array, h5::Type::u8, first, count, values);
}
void ArrayFile::write_rows(int array, std::int64_t first, std::int64_t count,
                           const std::uint16_t* values) {
  write(array, h5::Type::u16, first, count, values);
}
void ArrayFile::write_rows(int array, std::int64_t first, std::int64_t count,
                           const std::uint32_t* values) {
  write(array, h5::Type::u32, first, count, values);
}
void ArrayFile::write_rows(int array, std::int64_t first, std::int64_t count, const float* values) {
  write(array, h5::Type::f32, first, count, values);
}
void ArrayFile::write_rows(int array, std::int64_t first, std::int64_t count, const double* values) {
  write(array, h5::Type::f64, first, count, values);
}

}  // namespace fp8scope
