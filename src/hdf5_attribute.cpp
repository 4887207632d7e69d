#include <fmt/format.h>

#include <algorithm>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

/// Those that H5DS writes; they mean nothing to a reader of provenance.
bool is_bookkeeping(std::string_view name) {
  constexpr std::string_view names[] = {"CLASS",
                                        "NAME",
                                        "DIMENSION_LIST",
                                        "REFERENCE_LIST",
                                        "DIMENSION_LABELS",
                                        "_Netcdf4Dimid",
                                        "_Netcdf4Coordinates"};
  return std::ranges::find(names, name) != std::end(names);
}

std::optional<Value> read_value(hid_t attribute, const std::string& where) {
  const Id type(H5Aget_type(attribute)), space(H5Aget_space(attribute));
  const auto read = [&](hid_t memory, void* out) {
    check_data(H5Aread(attribute, memory, out), where, "read the attribute");
  };
  const bool single = H5Sget_simple_extent_npoints(space.get()) == 1;
  switch (H5Tget_class(type.get())) {
    case H5T_STRING: {
      std::vector<std::string> texts = read_text(type.get(), space.get(), read);
      if (H5Sget_simple_extent_ndims(space.get()) == 0 && texts.size() == 1) return texts.front();
      return texts;
    }
    case H5T_INTEGER: {
      std::int64_t value = 0;
      if (single) return read(H5T_NATIVE_INT64, &value), value;
      return {};
    }
    case H5T_FLOAT: {
      double value = 0;
      if (single) return read(H5T_NATIVE_DOUBLE, &value), value;
      return {};
    }
    case H5T_ENUM: {  // h5py's bool: one byte, FALSE or TRUE
      std::int8_t value = 0;
      if (single && H5Tget_size(type.get()) == 1) return read(type.get(), &value), std::int64_t{value};
      return {};
    }
    default: return {};
  }
}

void write_attribute(const Object& object, const std::string& name, hid_t type, hid_t space,
                     const void* value) {
  const std::string where = fmt::format("{}, attribute '{}'", object.where(), name);
  if (H5Aexists(object.id(), name.c_str()) > 0) H5Adelete(object.id(), name.c_str());
  const Id attribute(H5Acreate2(object.id(), name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT));
  check_io(attribute.get(), where, "create it");
  check_io(H5Awrite(attribute.get(), type, value), where, "write it");
}

}  // namespace

std::string Object::where() const { return fmt::format("'{}': {}", file_, path_); }

bool Object::has_attribute(const std::string& name) const {
  return H5Aexists(id(), name.c_str()) > 0;
}

std::vector<Attribute> Object::attributes() const {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  hsize_t position = 0;
  // Files that do not keep the order of creation are read by name.
  if (H5Aiterate2(id(), H5_INDEX_CRT_ORDER, H5_ITER_INC, &position, collect, &names) < 0) {
    names.clear(), position = 0;
    check_data(H5Aiterate2(id(), H5_INDEX_NAME, H5_ITER_INC, &position, collect, &names), where(),
               "list the attributes");
  }
  std::vector<Attribute> result;
  for (const std::string& name : names) {
    if (is_bookkeeping(name)) continue;
    const Id attribute(
        check_data(H5Aopen(id(), name.c_str(), H5P_DEFAULT), where(), "open an attribute"));
    if (auto value = read_value(attribute.get(), where())) result.push_back({name, *value});
  }
  return result;
}

std::optional<std::string> Object::text(const std::string& name) const {
  if (!has_attribute(name)) return {};
  const Id attribute(
      check_data(H5Aopen(id(), name.c_str(), H5P_DEFAULT), where(), "open an attribute"));
  const auto value = read_value(attribute.get(), where());
  if (value && std::holds_alternative<std::string>(*value)) return std::get<std::string>(*value);
  throw DataError(fmt::format("{}: attribute '{}' is not text", where(), name));
}

std::optional<std::int64_t> Object::integer(const std::string& name) const {
  if (!has_attribute(name)) return {};
  const Id attribute(
      check_data(H5Aopen(id(), name.c_str(), H5P_DEFAULT), where(), "open an attribute"));
  const auto value = read_value(attribute.get(), where());
  if (value && std::holds_alternative<std::int64_t>(*value)) return std::get<std::int64_t>(*value);
  throw DataError(fmt::format("{}: attribute '{}' is not an integer", where(), name));
}

std::string Object::required_text(const std::string& name) const {
  if (auto value = text(name)) return *value;
  throw DataError(fmt::format("{}: the attribute '{}' is missing", where(), name));
}

void Object::set(const std::string& name, const Value& value) {
  const Id scalar(H5Screate(H5S_SCALAR)), text = text_type();
  if (const auto* string = std::get_if<std::string>(&value)) {
    const char* pointer = string->c_str();
    write_attribute(*this, name, text.get(), scalar.get(), &pointer);
  } else if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    write_attribute(*this, name, H5T_STD_I64LE, scalar.get(), integer);
  } else if (const auto* real = std::get_if<double>(&value)) {
    write_attribute(*this, name, H5T_IEEE_F64LE, scalar.get(), real);
  } else {
    const auto& list = std::get<std::vector<std::string>>(value);
    std::vector<const char*> pointers;
    for (const std::string& item : list) pointers.push_back(item.c_str());
    const hsize_t count = list.size();
    const Id space(H5Screate_simple(1, &count, nullptr));
    write_attribute(*this, name, text.get(), space.get(), pointers.data());
  }
}

}  // namespace fp8scope::h5
