#include "src/npy.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstring>

#include "src/errors.hpp"
#include "src/output_file.hpp"

namespace fp8scope {

namespace {

constexpr std::string_view magic = "\x93NUMPY";
constexpr std::size_t longest_header = 10000;  // as NumPy itself accepts
constexpr std::size_t most_axes = 32;          // as NumPy 1 does

struct TypeRow {
  NpyType type;
  std::string_view descr;
  std::size_t bytes;
};

constexpr TypeRow types[] = {{NpyType::f2, "<f2", 2}, {NpyType::f4, "<f4", 4},
                             {NpyType::f8, "<f8", 8}, {NpyType::u1, "|u1", 1},
                             {NpyType::u2, "<u2", 2}, {NpyType::v1, "|V1", 1},
                             {NpyType::v2, "|V2", 2}};

const TypeRow& row(NpyType type) { return types[static_cast<int>(type)]; }

/// Reads "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }" and nothing else.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  struct Header {
    std::string descr;
    bool fortran = false;
    std::vector<std::int64_t> shape;
  };

  Header parse() {
    Header header;
    int seen = 0;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      const int field = key == "descr" ? 1 : key == "fortran_order" ? 2 : key == "shape" ? 4 : 0;
      if (field == 0 || (seen & field) != 0) fail();
      seen |= field;
      expect(':');
      if (field == 1) header.descr = descr();
      if (field == 2) header.fortran = boolean();
      if (field == 4) header.shape = tuple();
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    skip_space();
    if (!text_.empty() || seen != 7) fail();
    return header;
  }

 private:
  [[noreturn]] void fail() const { throw DataError(where_ + ": the .npy header is damaged"); }
  void skip_space() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n'))
      text_.remove_prefix(1);
  }
  bool accept(char c) {
    skip_space();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail();
  }
  std::string quoted() {
    skip_space();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) fail();
    const std::size_t end = text_.find(text_.front(), 1);
    if (end == std::string_view::npos) fail();
    const std::string word(text_.substr(1, end - 1));
    text_.remove_prefix(end + 1);
    return word;
  }
  /// A list of fields instead of a word is a structure.
  std::string descr() {
    skip_space();
    if (text_.starts_with('['))
      throw DataError(where_ + ": holds structures; save one field as an array of its own");
    return quoted();
  }
  bool boolean() {
    skip_space();
    for (const bool value : {false, true}) {
      const std::string_view word = value ? "True" : "False";
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return value;
    }
    fail();
  }
  std::vector<std::int64_t> tuple() {
    std::vector<std::int64_t> shape;
    expect('(');
    while (!accept(')')) {
      skip_space();
      std::int64_t extent = -1;
      const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), extent);
      if (error != std::errc{} || extent < 0 || shape.size() == most_axes) fail();
      text_.remove_prefix(static_cast<std::size_t>(end - text_.data()));
      shape.push_back(extent);
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return shape;
  }

  std::string_view text_;
  std::string where_;
};

NpyType type_of(const std::string& descr, const std::string& where) {
  for (const TypeRow& known : types)
    if (descr.size() == 3 && known.descr.substr(1) == descr.substr(1) &&
        (descr[0] == '<' || descr[0] == '|' || (known.bytes == 1 && (descr[0] == '>' || descr[0] == '='))))
      return known.type;
  const bool object = descr.find('O') != std::string::npos;
  throw DataError(fmt::format("{}: holds elements of type '{}'{}; save it with .astype('<f4')",
                              where, printable(descr),
                              object                   ? " (Python objects)"
                              : descr.starts_with('>') ? " (big-endian)"
                                                       : ""));
}

}  // namespace

std::string_view npy_descr(NpyType type) { return row(type).descr; }
std::size_t npy_bytes(NpyType type) { return row(type).bytes; }

NpyReader::NpyReader(std::shared_ptr<const ByteSource> bytes) : bytes_(std::move(bytes)) {
  read_header();
}

void NpyReader::read_header() {
  const std::string& where = bytes_->where();
  if (bytes_->size() < 10)
    throw DataError(where + ": is not a .npy file, or its beginning is missing");
  const std::string start = bytes_->text(0, 10);
  if (!start.starts_with(magic)) throw DataError(where + ": is not a .npy file");
  const int version = static_cast<unsigned char>(start[6]);
  const int minor = static_cast<unsigned char>(start[7]);
  if (version < 1 || version > 3 || minor != 0)
    throw DataError(fmt::format("{}: .npy version {}.{} is unknown", where, version, minor));
  const std::size_t before = version == 1 ? 10 : 12;
  const std::string length_field = bytes_->text(8, before - 8);
  LittleEndian field(length_field);
  const std::size_t length = version == 1 ? field.u16() : field.u32();
  if (length > longest_header) throw DataError(where + ": the .npy header is damaged (too long)");
  const std::string text = bytes_->text(before, length);

  const auto header = HeaderParser(text, where).parse();
  type_ = type_of(header.descr, where);
  shape_ = header.shape;
  size_ = 1;
  auto bytes = static_cast<std::int64_t>(npy_bytes(type_));
  for (const std::int64_t extent : shape_)
    if (__builtin_mul_overflow(size_, extent, &size_))
      throw DataError(where + ": the shape is impossible");
  // An array of fewer than two dimensions is the same in both orders.
  if (header.fortran && shape_.size() > 1)
    throw DataError(where + ": is in Fortran order; save it with np.ascontiguousarray(a)");
  offset_ = before + length;
  const auto there = static_cast<std::int64_t>(bytes_->size() - offset_);
  if (__builtin_mul_overflow(bytes, size_, &bytes) || bytes > there)
    throw DataError(fmt::format("{}: the file is truncated: {} bytes of data, its shape needs {}",
                                where, there, bytes));
  if (bytes < there)
    throw DataError(fmt::format("{}: {} bytes follow the data", where, there - bytes));
}

void NpyReader::read(std::int64_t first, std::int64_t count, void* out) const {
  if (first < 0 || count < 0 || first > size_ || count > size_ - first)
    throw std::invalid_argument(
        fmt::format("{}: elements {} to {} of {}", bytes_->where(), first, first + count, size_));
  const std::size_t bytes = npy_bytes(type_);
  bytes_->read(offset_ + static_cast<std::uint64_t>(first) * bytes,
               static_cast<std::size_t>(count) * bytes, out);
}

std::string npy_header(NpyType type, const std::vector<std::int64_t>& shape) {
  std::string header =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", npy_descr(type),
                  fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
  // The data begins at a multiple of 64 bytes, and the header ends in a line feed.
  header.append((64 - (magic.size() + 4 + header.size() + 1) % 64) % 64, ' ').push_back('\n');
  std::string start(magic);
  start +=
      {'\1', '\0', static_cast<char>(header.size() & 255), static_cast<char>(header.size() >> 8)};
  return start + header;
}

void write_npy(const std::string& path, NpyType type, const std::vector<std::int64_t>& shape,
               std::span<const std::byte> values) {
  std::size_t bytes = npy_bytes(type);
  for (const std::int64_t extent : shape) bytes *= static_cast<std::size_t>(extent);
  if (bytes != values.size())
    throw std::invalid_argument(
        fmt::format("'{}': {} bytes for a shape of {}", path, values.size(), bytes));
  OutputFile file(path, npy_kind);
  file.write(npy_header(type, shape));
  file.write({reinterpret_cast<const char*>(values.data()), values.size()});
  file.commit();
}

}  // namespace fp8scope
