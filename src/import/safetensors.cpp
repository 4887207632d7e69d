#include "src/import/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

constexpr std::uint64_t longest_header = 100'000'000;
constexpr std::size_t most_tensors = 1'000'000, longest_name = 1024, most_axes = 32;

struct DtypeRow {
  std::string_view name;
  int bits;
};

constexpr DtypeRow dtypes[] = {
    {"BOOL", 8},    {"F4", 4},          {"F6_E2M3", 6},     {"F6_E3M2", 6}, {"U8", 8},
    {"I8", 8},      {"F8_E5M2", 8},     {"F8_E4M3", 8},     {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8},
    {"I16", 16},    {"F8_E5M2FNUZ", 8}, {"U16", 16},        {"F16", 16},    {"BF16", 16},
    {"I32", 32},    {"U32", 32},        {"F32", 32},        {"C64", 64},    {"F64", 64},
    {"I64", 64},    {"U64", 64},
};

/// Takes the header's JSON apart event by event, so that a duplicate key cannot hide another.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string where) : where_(std::move(where)) {}

  SafetensorsHeader take() {
    if (depth_ != 0 || !seen_root_) fail("the header is not one JSON object");
    return std::move(header_);
  }

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a truth value"); }
  bool number_integer(std::int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) override {
    return unexpected("a number that is no 64-bit integer");
  }
  bool binary(nlohmann::json::binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(std::uint64_t value) override {
    if (place_ == Place::shape) {
      if (tensor_.shape.size() == most_axes) fail_here("has more than 32 axes");
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
        fail_here("has an impossible shape");
      tensor_.shape.push_back(static_cast<std::int64_t>(value));
    } else if (place_ == Place::offsets) {
      if (offsets_.size() == 2) fail_here("'data_offsets' must be two numbers");
      offsets_.push_back(value);
    } else {
      return unexpected("a number");
    }
    return true;
  }

  bool string(std::string& value) override {
    if (depth_ == 2 && in_metadata_) {
      if (!header_.metadata.emplace(key_, value).second)
        fail(fmt::format("__metadata__ has the key '{}' twice", printable(key_)));
    } else if (depth_ == 2 && key_ == "dtype") {
      tensor_.dtype = value;
    } else {
      return unexpected("text");
    }
    return true;
  }

  bool start_object(std::size_t) override {
    if (depth_ == 0) {
      seen_root_ = true;
    } else if (depth_ == 1) {
      in_metadata_ = name_ == "__metadata__";
      tensor_ = {}, offsets_.clear(), fields_.clear(), has_shape_ = false;
      tensor_.name = name_;
    } else {
      return unexpected("an object");
    }
    ++depth_;
    return true;
  }

  bool end_object() override {
    if (depth_ == 2 && !in_metadata_) finish_tensor();
    --depth_, in_metadata_ = false;
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || place_ != Place::none) return unexpected("an array");
    if (key_ == "shape")
      place_ = Place::shape, has_shape_ = true;
    else if (key_ == "data_offsets")
      place_ = Place::offsets;
    else
      return unexpected("an array");
    return true;
  }

  bool end_array() override {
    place_ = Place::none;
    return true;
  }

  bool key(std::string& value) override {
    if (depth_ == 1) {
      if (value.size() > longest_name) fail("a tensor's name is longer than 1 KiB");
      if (value.find('\0') != std::string::npos) fail("a tensor's name holds a NUL");
      if (!names_.insert(value).second)
        fail(fmt::format("tensor '{}' is there twice", printable(value)));
      if (names_.size() > most_tensors) fail("there are more than a million tensors");
      name_ = value;
    } else if (!in_metadata_) {
      if (value != "dtype" && value != "shape" && value != "data_offsets")
        fail_here(fmt::format("has a key '{}'; expected dtype, shape and data_offsets",
                              printable(value)));
      if (!fields_.insert(value).second) fail_here(fmt::format("has '{}' twice", value));
    }
    key_ = value;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    fail(fmt::format("the header is not JSON at byte {}", 8 + position));
  }

 private:
  enum class Place { none, shape, offsets };

  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {}; the file is damaged, write it again", where_, what));
  }
  [[noreturn]] void fail_here(const std::string& what) const {
    fail(fmt::format("tensor '{}' {}", printable(name_), what));
  }
  bool unexpected(const char* what) const {
    fail(fmt::format("the header holds {} {}", what,
                     depth_ == 0 ? std::string("instead of an object")
                                 : fmt::format("under '{}'", printable(depth_ > 1 ? name_ : key_))));
  }

  void finish_tensor() {
    if (tensor_.dtype.empty() || !has_shape_ || offsets_.size() != 2)
      fail_here("lacks dtype, shape or data_offsets");
    tensor_.begin = offsets_[0], tensor_.end = offsets_[1];
    header_.tensors.push_back(std::move(tensor_));
  }

  std::string where_, name_, key_;
  SafetensorsHeader header_;
  SafetensorsTensor tensor_;
  std::vector<std::uint64_t> offsets_;
  std::set<std::string> names_, fields_;
  int depth_ = 0;
  bool seen_root_ = false, in_metadata_ = false, has_shape_ = false;
  Place place_ = Place::none;
};

/// Bytes that the shape and the dtype need; nothing if they are impossible.
std::optional<std::uint64_t> bytes_of(const SafetensorsTensor& tensor) {
  std::uint64_t bits = static_cast<std::uint64_t>(safetensors_bits(tensor.dtype));
  for (const std::int64_t extent : tensor.shape)
    if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(extent), &bits)) return {};
  if (bits % 8 != 0) return {};
  return bits / 8;
}

/// Tensors follow each other from the first byte of the data to the last of the file.
void require_contiguous(SafetensorsHeader& header, std::uint64_t data, const ByteSource& file) {
  std::ranges::sort(header.tensors, [](const SafetensorsTensor& a, const SafetensorsTensor& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  std::uint64_t next = 0;
  for (SafetensorsTensor& tensor : header.tensors) {
    const std::string where = fmt::format("{}: tensor '{}'", file.where(), printable(tensor.name));
    if (safetensors_bits(tensor.dtype) == 0)
      throw DataError(fmt::format("{}: has the unknown dtype '{}'", where, printable(tensor.dtype)));
    const auto bytes = bytes_of(tensor);
    if (!bytes) throw DataError(where + ": has an impossible shape");
    if (tensor.begin != next || tensor.end < tensor.begin)
      throw DataError(fmt::format("{}: begins at byte {} of the data, the one before it ends at {}; "
                                  "the file is damaged, write it again",
                                  where, tensor.begin, next));
    if (tensor.end - tensor.begin != *bytes)
      throw DataError(fmt::format("{}: has {} bytes, its shape needs {}; the file is damaged, write "
                                  "it again",
                                  where, tensor.end - tensor.begin, *bytes));
    next = tensor.end;
  }
  if (next != file.size() - data)
    throw DataError(fmt::format("{}: holds {} bytes of data, its tensors need {}; copy the file again",
                                file.where(), file.size() - data, next));
  for (SafetensorsTensor& tensor : header.tensors) tensor.begin += data, tensor.end += data;
}

}  // namespace

int safetensors_bits(std::string_view dtype) {
  for (const DtypeRow& row : dtypes)
    if (row.name == dtype) return row.bits;
  return 0;
}

SafetensorsHeader read_safetensors(const ByteSource& file) {
  if (file.size() < 8)
    throw DataError(file.where() + ": is not a .safetensors file, or its beginning is missing");
  const std::uint64_t length = LittleEndian(file.text(0, 8)).u64();
  if (length > longest_header)
    throw DataError(fmt::format("{}: is not a .safetensors file: a header of {} bytes (at most 100 MB)",
                                file.where(), length));
  if (length > file.size() - 8)
    throw DataError(fmt::format("{}: the header needs {} bytes, the file has {}; copy it again",
                                file.where(), length, file.size() - 8));
  const std::string json = file.text(8, static_cast<std::size_t>(length));
  if (!json.starts_with('{'))
    throw DataError(file.where() + ": is not a .safetensors file: its header does not begin with '{'");
  HeaderReader reader(file.where());
  nlohmann::json::sax_parse(json, &reader);
  SafetensorsHeader header = reader.take();
  require_contiguous(header, 8 + length, file);
  return header;
}

std::string safetensors_header(const SafetensorsHeader& header) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  for (const SafetensorsTensor& tensor : header.tensors)
    json[tensor.name] = {{"dtype", tensor.dtype},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin, tensor.end}}};
  std::string text = json.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(text.size() >> (8 * i) & 255);
  return bytes + text;
}

}  // namespace fp8scope
