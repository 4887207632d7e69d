#include "src/hdf5.hpp"

#include <fmt/format.h>

#include <cstring>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

struct TypeRow {
  Type type;
  std::string_view name;
  std::size_t bytes;
};

constexpr TypeRow types[] = {
    {Type::bf16, "bfloat16", 2}, {Type::fp16, "float16", 2},
    {Type::f32, "float32", 4},   {Type::f64, "float64", 8},
    {Type::u8, "uint8", 1},      {Type::u16, "uint16", 2},
    {Type::u32, "uint32", 4},    {Type::u64, "uint64", 8},
    {Type::i8, "int8", 1},       {Type::i16, "int16", 2},
    {Type::i32, "int32", 4},     {Type::i64, "int64", 8},
    {Type::text, "text", 0},     {Type::other, "an unsupported type", 0},
};

const TypeRow& row(Type type) { return types[static_cast<int>(type)]; }

/// A 16-bit float type, which HDF5 1.10 does not predefine: sign, exponent, mantissa from the top.
hid_t half_type(std::size_t exponent_bits, std::size_t mantissa_bits, std::size_t bias) {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  H5Tset_fields(type, 15, mantissa_bits, exponent_bits, 0, mantissa_bits);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, bias);
  return type;
}

hid_t bf16_type() { return half_type(8, 7, 127); }
hid_t fp16_type() { return half_type(5, 10, 15); }

hid_t library_type(Type type) {
  switch (type) {
    case Type::bf16: return bf16_type();
    case Type::fp16: return fp16_type();
    case Type::f32: return H5Tcopy(H5T_IEEE_F32LE);
    case Type::f64: return H5Tcopy(H5T_IEEE_F64LE);
    case Type::u8: return H5Tcopy(H5T_STD_U8LE);
    case Type::u16: return H5Tcopy(H5T_STD_U16LE);
    case Type::u32: return H5Tcopy(H5T_STD_U32LE);
    case Type::u64: return H5Tcopy(H5T_STD_U64LE);
    case Type::i8: return H5Tcopy(H5T_STD_I8LE);
    case Type::i16: return H5Tcopy(H5T_STD_I16LE);
    case Type::i32: return H5Tcopy(H5T_STD_I32LE);
    case Type::i64: return H5Tcopy(H5T_STD_I64LE);
    case Type::text:
    case Type::other: break;
  }
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, H5T_VARIABLE);
  H5Tset_cset(text, H5T_CSET_UTF8);
  return text;
}

Type classify_integer(hid_t file_type) {
  const bool is_signed = H5Tget_sign(file_type) == H5T_SGN_2;
  switch (H5Tget_size(file_type)) {
    case 1: return is_signed ? Type::i8 : Type::u8;
    case 2: return is_signed ? Type::i16 : Type::u16;
    case 4: return is_signed ? Type::i32 : Type::u32;
    case 8: return is_signed ? Type::i64 : Type::u64;
    default: return Type::other;
  }
}

/// H5Ewalk2 upward visits the innermost error first: keep that one.
herr_t keep_first(unsigned n, const H5E_error2_t* error, void* text) {
  if (n == 0 && error->desc) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

}  // namespace

std::string_view type_name(Type type) { return row(type).name; }
std::size_t type_bytes(Type type) { return row(type).bytes; }

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape)
    if (__builtin_mul_overflow(count, extent, &count))
      throw DataError(fmt::format("shape {} has more than 2^63 elements", shape_text(shape)));
  return count;
}

std::string shape_text(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

void prepare() {
  static const bool once = [] {
    // At exit the library would try again to flush a file whose disk was full, and complain.
    H5dont_atexit();
    H5open();
    // An unknown filter must not make the library load code from a folder.
    H5PLset_loading_state(0);
    return true;
  }();
  static_cast<void>(once);
  thread_local const herr_t quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  static_cast<void>(quiet);
}

std::string reason() {
  std::string text = "the HDF5 library gives no reason";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &text);
  // The file driver wraps the system's message in times and addresses.
  if (const auto at = text.find("error message = '"); at != std::string::npos) {
    const std::string rest = text.substr(at + std::strlen("error message = '"));
    return rest.substr(0, rest.find('\''));
  }
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

void fail_data(const std::string& where, const std::string& what) {
  throw DataError(fmt::format("{}: cannot {}: {}", where, what, reason()));
}

void fail_io(const std::string& where, const std::string& what) {
  throw IoError(fmt::format("{}: cannot {}: {}", where, what, reason()));
}

Id element_type(Type type) { return Id(library_type(type)); }
Id text_type() { return Id(library_type(Type::text)); }

Type classify(hid_t file_type) {
  const auto is = [&](hid_t other) { return H5Tequal(file_type, other) > 0; };
  switch (H5Tget_class(file_type)) {
    case H5T_INTEGER: return classify_integer(file_type);
    case H5T_STRING: return Type::text;
    case H5T_FLOAT: {
      const Id bf16(bf16_type()), fp16(fp16_type());
      if (is(bf16.get())) return Type::bf16;
      if (is(fp16.get())) return Type::fp16;
      if (is(H5T_IEEE_F32LE) || is(H5T_IEEE_F32BE)) return Type::f32;
      if (is(H5T_IEEE_F64LE) || is(H5T_IEEE_F64BE)) return Type::f64;
      return Type::other;
    }
    default: return Type::other;
  }
}

Id::~Id() {
  if (id_ > 0) H5Idec_ref(id_);
}

std::string library_version() {
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("{}.{}.{}", major, minor, release);
}

}  // namespace fp8scope::h5
