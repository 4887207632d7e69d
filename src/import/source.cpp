#include "src/import/source.hpp"

#include <fmt/format.h>

#include <filesystem>

#include "sim/format.hpp"
#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/import/safetensors.hpp"
#include "src/import/zip.hpp"
#include "src/npy.hpp"

namespace fp8scope {

namespace {

constexpr std::uint64_t small_member = std::uint64_t{64} << 20;

struct ElementRow {
  std::string_view name;
  h5::Type type;
  std::string_view encoding;
};

/// dtypes of .safetensors files that are floating-point numbers, or may be codes.
constexpr ElementRow safetensors_elements[] = {
    {"F64", h5::Type::f64, ""},
    {"F32", h5::Type::f32, ""},
    {"F16", h5::Type::fp16, ""},
    {"BF16", h5::Type::bf16, ""},
    {"U8", h5::Type::u8, ""},
    {"U16", h5::Type::u16, ""},
    {"F8_E4M3", h5::Type::u8, "float8_e4m3fn"},
    {"F8_E5M2", h5::Type::u8, "float8_e5m2"},
    {"F8_E4M3FNUZ", h5::Type::u8, "float8_e4m3fnuz"},
    {"F8_E5M2FNUZ", h5::Type::u8, "float8_e5m2fnuz"},
    {"F8_E8M0", h5::Type::u8, "float8_e8m0fnu"},
    {"F4", h5::Type::u8, "float4_e2m1fn"},
};

struct TypeName {
  std::string_view name;
  h5::Type type;
};

constexpr TypeName float_names[] = {
    {"f64", h5::Type::f64},   {"float64", h5::Type::f64},   {"f32", h5::Type::f32},
    {"float32", h5::Type::f32}, {"bfloat16", h5::Type::bf16}, {"bf16", h5::Type::bf16},
    {"float16", h5::Type::fp16}, {"fp16", h5::Type::fp16},    {"f16", h5::Type::fp16},
};

Element element_of(const NpyType type) {
  const std::string name(npy_descr(type));
  switch (type) {
    case NpyType::f2: return {h5::Type::fp16, "", name};
    case NpyType::f4: return {h5::Type::f32, "", name};
    case NpyType::f8: return {h5::Type::f64, "", name};
    case NpyType::u1:
    case NpyType::v1: return {h5::Type::u8, "", name};
    default: return {h5::Type::u16, "", name};
  }
}

/// 8- and 16-bit elements without a meaning of their own are what the user says.
Element with_dtype(Element element, const SourceOptions& options) {
  if (options.dtype.empty() || !element.encoding.empty()) return element;
  if (element.type != h5::Type::u8 && element.type != h5::Type::u16) return element;
  const Element stated = parse_element(options.dtype);
  const bool same = h5::type_bytes(stated.type) == h5::type_bytes(element.type);
  return same ? stated : element;
}

Element of_safetensors(std::string_view dtype) {
  for (const ElementRow& row : safetensors_elements)
    if (row.name == dtype) return {row.type, std::string(row.encoding), std::string(dtype)};
  return {h5::Type::other, "", std::string(dtype)};
}

std::vector<SourceTensor> raw_source(const std::string& path, const SourceOptions& options) {
  if (options.shape.empty() || options.dtype.empty())
    throw UsageError(fmt::format("'{}' does not say what it holds; state --dtype and --shape, "
                                 "for instance --dtype bf16 --shape 128x576",
                                 path));
  SourceTensor tensor{path, "", parse_element(options.dtype), options.shape, open_bytes(path)};
  std::uint64_t bytes = h5::type_bytes(tensor.element.type);
  for (const std::int64_t extent : options.shape)
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes))
      throw UsageError("--shape is impossible");
  const std::uint64_t there =
      tensor.data->size() - std::min(tensor.data->size(), options.offset);
  if (there != bytes)
    throw DataError(fmt::format("'{}': {} bytes from --offset {} on; shape {} of {} needs {}", path,
                                there, options.offset, h5::shape_text(options.shape), options.dtype,
                                bytes));
  tensor.data = slice_bytes(tensor.data, options.offset, bytes, tensor.data->where());
  return {tensor};
}

/// Files that are no raw elements, whatever the options say.
struct Foreign {
  std::string_view ending, advice;
};

constexpr Foreign foreign[] = {
    {".h5", "is HDF5; copy a trace with 'trace slice', save other datasets as .npy"},
    {".hdf5", "is HDF5; copy a trace with 'trace slice', save other datasets as .npy"},
    {".pt", "is a pickle, which runs code when it is read; save it with safetensors"},
    {".pth", "is a pickle, which runs code when it is read; save it with safetensors"},
    {".pkl", "is a pickle, which runs code when it is read; save it with safetensors"},
};

std::string unquoted(const ByteSource& file) {
  const std::string& where = file.where();
  return where.size() >= 2 && where.front() == '\'' ? where.substr(1, where.size() - 2) : where;
}

}  // namespace

bool Element::known() const {
  if (type == h5::Type::u8 || type == h5::Type::u16) return !encoding.empty();
  return type == h5::Type::f32 || type == h5::Type::f64 || type == h5::Type::bf16 ||
         type == h5::Type::fp16;
}

Element parse_element(std::string_view name) {
  if (const TypeName* row = find_by_name(float_names, name)) return {row->type, "", std::string(name)};
  for (const ElementRow& row : safetensors_elements)
    if (row.name == name && (!row.encoding.empty() || row.type != h5::Type::u8) &&
        row.type != h5::Type::u16 && row.name != "F4")
      return {row.type, std::string(row.encoding), std::string(name)};
  for (const NamedFormat& row : formats)
    if ((row.name == name || row.torch_name == name) && row.format.bits() <= 16)
      return {row.format.bits() <= 8 ? h5::Type::u8 : h5::Type::u16,
              std::string(row.torch_name.empty() ? row.name : row.torch_name), std::string(name)};
  std::vector<std::string_view> known;
  for (const TypeName& row : float_names) known.push_back(row.name);
  for (const NamedFormat& row : formats)
    if (row.format.bits() <= 16 && row.name != "bf16" && row.name != "fp16") known.push_back(row.name);
  throw UsageError(unknown_name("dtype", name, known));
}

std::string SourceTensor::where() const {
  return name.empty() ? fmt::format("'{}'", file)
                      : fmt::format("'{}': tensor '{}'", file, printable(name));
}

std::string SourceTensor::full_name() const {
  const std::filesystem::path path(file);
  const std::string stem = (path.parent_path() / path.stem()).string();
  return name.empty() ? stem : stem + "/" + name;
}

std::vector<SourceTensor> safetensors_source(std::shared_ptr<const ByteSource> file,
                                             const SourceOptions& options) {
  const std::string path = unquoted(*file);
  std::vector<SourceTensor> tensors;
  for (const SafetensorsTensor& entry : read_safetensors(*file).tensors) {
    SourceTensor tensor{path, entry.name, with_dtype(of_safetensors(entry.dtype), options),
                        entry.shape, nullptr};
    tensor.data = slice_bytes(file, entry.begin, entry.end - entry.begin, tensor.where());
    // The shape counts codes, of which two share a byte.
    if (entry.dtype == "F4") tensor.data = unpack_nibbles(tensor.data);
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

std::vector<SourceTensor> npy_source(std::shared_ptr<const ByteSource> file, const SourceOptions& options) {
  const NpyReader npy(file);
  SourceTensor tensor{unquoted(*file), "", with_dtype(element_of(npy.type()), options), npy.shape(),
                      nullptr};
  tensor.data = slice_bytes(file, npy.offset(), file->size() - npy.offset(), file->where());
  return {tensor};
}

std::vector<SourceTensor> npz_source(std::shared_ptr<const ByteSource> file, const SourceOptions& options) {
  const std::string path = unquoted(*file);
  std::vector<SourceTensor> tensors;
  for (const ZipMember& member : read_zip(*file)) {
    if (!member.name.ends_with(".npy")) continue;
    if (member.size > small_member && member.size / options.most_inflation > member.compressed)
      throw DataError(fmt::format("'{}': member '{}' inflates {} times, to {} bytes; if that is meant, "
                                  "raise --max-inflation",
                                  path, printable(member.name),
                                  member.size / std::max<std::uint64_t>(member.compressed, 1),
                                  member.size));
    std::vector<SourceTensor> one = npy_source(open_member(file, member), options);
    one[0].file = path, one[0].name = member.name.substr(0, member.name.size() - 4);
    tensors.push_back(std::move(one[0]));
  }
  if (tensors.empty()) throw DataError(fmt::format("'{}': holds no arrays", path));
  return tensors;
}

std::vector<SourceTensor> open_source(const std::string& path, const SourceOptions& options) {
  if (path.ends_with(".safetensors")) return safetensors_source(open_bytes(path), options);
  if (path.ends_with(".npz")) return npz_source(open_bytes(path), options);
  if (path.ends_with(".npy")) return npy_source(open_bytes(path), options);
  for (const Foreign& row : foreign)
    if (path.ends_with(row.ending)) throw UsageError(fmt::format("'{}' {}", path, row.advice));
  return raw_source(path, options);
}

}  // namespace fp8scope
