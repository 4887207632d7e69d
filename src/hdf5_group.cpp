#include <fmt/format.h>

#include <algorithm>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

std::vector<std::string> components(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return parts;
}

std::string joined(const std::string& folder, const std::string& name) {
  return folder == "/" ? "/" + name : folder + "/" + name;
}

/// A hard link is in this file; a soft or external one may lead anywhere.
void require_hard_link(hid_t group, const std::string& name, const std::string& where) {
  H5L_info_t info{};
  check_data(H5Lget_info(group, name.c_str(), &info, H5P_DEFAULT), where, "read the link");
  if (info.type == H5L_TYPE_HARD) return;
  const char* kind = info.type == H5L_TYPE_EXTERNAL ? "an external link (to another file)"
                     : info.type == H5L_TYPE_SOFT   ? "a soft link"
                                                    : "a link of an unknown type";
  throw DataError(
      fmt::format("{}: is {}, which is not followed; copy the data into the file", where, kind));
}

std::vector<std::string> link_names(hid_t group, const std::string& where) {
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  hsize_t position = 0;
  if (H5Literate(group, H5_INDEX_CRT_ORDER, H5_ITER_INC, &position, collect, &names) >= 0)
    return names;
  names.clear(), position = 0;
  check_data(H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &position, collect, &names), where,
             "list it");
  return names;
}

Id open_object(hid_t group, const std::string& name, const std::string& where) {
  return Id(check_data(H5Oopen(group, name.c_str(), H5P_DEFAULT), where, "open it"));
}

/// Creation properties that make the bytes depend on the content only, and keep the order written.
Id creation_list(hid_t kind) {
  Id plist(H5Pcreate(kind));
  H5Pset_obj_track_times(plist.get(), 0);
  H5Pset_attr_creation_order(plist.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  if (kind != H5P_DATASET_CREATE)
    H5Pset_link_creation_order(plist.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  return plist;
}

/// Two chunks fit into the cache, so that panels smaller than a chunk do not rewrite it.
Id access_list(const Shape& chunk, std::size_t bytes) {
  Id plist(H5Pcreate(H5P_DATASET_ACCESS));
  const std::size_t cache =
      2 * static_cast<std::size_t>(element_count(chunk)) * std::max<std::size_t>(bytes, 1);
  H5Pset_chunk_cache(plist.get(), 521, std::max(cache, std::size_t{1} << 20), 1.0);
  return plist;
}

}  // namespace

Group::Group(Id id, std::string file, std::string path)
    : Object(std::move(id), std::move(file), std::move(path)) {}

bool Group::has(const std::string& path) const {
  Id owner;
  hid_t at = id();
  for (const std::string& name : components(path)) {
    if (H5Lexists(at, name.c_str(), H5P_DEFAULT) <= 0) return false;
    H5L_info_t info{};
    if (H5Lget_info(at, name.c_str(), &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD)
      return false;
    owner = Id(H5Oopen(at, name.c_str(), H5P_DEFAULT));
    if ((at = owner.get()) < 0) return false;
  }
  return true;
}

Id Group::open(const std::string& path) const {
  Id at(H5Oopen(id(), ".", H5P_DEFAULT));
  std::string here = path_;
  for (const std::string& name : components(path)) {
    const std::string where = fmt::format("'{}': {}", file_, joined(here, name));
    if (H5Iget_type(at.get()) != H5I_GROUP)
      throw DataError(fmt::format("{}: there is no such object, '{}' is a dataset", where, here));
    if (H5Lexists(at.get(), name.c_str(), H5P_DEFAULT) <= 0)
      throw DataError(fmt::format("{}: there is no such object; '{}' holds: {}", where, here,
                                  fmt::join(link_names(at.get(), where), ", ")));
    require_hard_link(at.get(), name, where);
    at = open_object(at.get(), name, where);
    here = joined(here, name);
  }
  return at;
}

Group Group::group(const std::string& path) const {
  Group result(open(path), file_, joined(path_, path));
  if (H5Iget_type(result.id()) != H5I_GROUP) throw DataError(result.where() + ": is not a group");
  return result;
}

Dataset Group::dataset(const std::string& path) const {
  const std::vector<std::string> parts = components(path);
  const std::string full = joined(path_, fmt::format("{}", fmt::join(parts, "/")));
  Id access;
  {
    Id object = open(path);
    if (H5Iget_type(object.get()) != H5I_DATASET)
      throw DataError(fmt::format("'{}': {}: is not a dataset", file_, full));
    const Dataset plain(std::move(object), file_, full);
    plain.require_data();
    access = access_list(plain.chunk(), type_bytes(plain.type()));
  }
  // Only the first opening sets the cache, so the dataset had to be closed.
  return Dataset(
      Id(check_data(H5Dopen2(id(), fmt::format("{}", fmt::join(parts, "/")).c_str(), access.get()),
                    fmt::format("'{}': {}", file_, full), "open it")),
      file_, full);
}

std::vector<Entry> Group::entries(Links links) const {
  std::vector<Entry> result;
  for (const std::string& name : link_names(id(), where())) {
    const std::string inside = fmt::format("'{}': {}", file_, joined(path_, name));
    if (links == Links::skip && !has(name)) continue;
    require_hard_link(id(), name, inside);
    const Id object = open_object(id(), name, inside);
    const H5I_type_t type = H5Iget_type(object.get());
    if (type == H5I_GROUP || type == H5I_DATASET) result.push_back({name, type == H5I_GROUP});
  }
  return result;
}

Group Group::create_group(const std::string& path) {
  const Id groups = creation_list(H5P_GROUP_CREATE);
  Id at(H5Oopen(id(), ".", H5P_DEFAULT));
  std::string here = path_;
  for (const std::string& name : components(path)) {
    here = joined(here, name);
    const bool exists = H5Lexists(at.get(), name.c_str(), H5P_DEFAULT) > 0;
    at = Id(check_io(
        exists ? H5Gopen2(at.get(), name.c_str(), H5P_DEFAULT)
               : H5Gcreate2(at.get(), name.c_str(), H5P_DEFAULT, groups.get(), H5P_DEFAULT),
        fmt::format("'{}': {}", file_, here), "create the group"));
  }
  return Group(std::move(at), file_, here);
}

Dataset Group::create_dataset(const std::string& name, Type type, const Shape& shape,
                              const Storage& storage) {
  const std::string full = joined(path_, name), where = fmt::format("'{}': {}", file_, full);
  const std::vector<hsize_t> dims(shape.begin(), shape.end()),
      chunk(storage.chunk.begin(), storage.chunk.end());
  const Id space(shape.empty()
                     ? H5Screate(H5S_SCALAR)
                     : H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr));
  const Id list = creation_list(H5P_DATASET_CREATE);
  if (!chunk.empty()) {
    check_io(H5Pset_chunk(list.get(), static_cast<int>(chunk.size()), chunk.data()), where,
             "set the chunk");
    if (storage.deflate > 0) {
      H5Pset_shuffle(list.get());
      H5Pset_deflate(list.get(), static_cast<unsigned>(storage.deflate));
    }
    H5Pset_fletcher32(list.get());
    H5Pset_fill_time(list.get(), H5D_FILL_TIME_NEVER);
  }
  const Id access = access_list(storage.chunk, type_bytes(type));
  return Dataset(Id(check_io(H5Dcreate2(id(), name.c_str(), element_type(type).get(), space.get(),
                                        H5P_DEFAULT, list.get(), access.get()),
                             where, "create the dataset")),
                 file_, full);
}

}  // namespace fp8scope::h5
