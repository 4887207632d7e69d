#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

Id access_properties() {
  Id plist(H5Pcreate(H5P_FILE_ACCESS));
  // Readable by HDF5 1.8 and later.
  H5Pset_libver_bounds(plist.get(), H5F_LIBVER_V18, H5F_LIBVER_V110);
  // Locks fail on network file systems, and nothing here needs them: no file is written in place.
  H5Pset_file_locking(plist.get(), 0, 1);
  return plist;
}

/// The system's reason why a file cannot be opened, before HDF5 words it.
void require_readable(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat status {};
  if (descriptor < 0 || fstat(descriptor, &status) != 0)
    throw IoError(fmt::format("'{}': cannot open: {}", path, std::strerror(errno)));
  close(descriptor);
  if (S_ISDIR(status.st_mode))
    throw IoError(fmt::format("'{}': cannot open: is a directory", path));
  if (!S_ISREG(status.st_mode))
    throw IoError(fmt::format("'{}': cannot open: not a regular file", path));
}

}  // namespace

Group open_unguarded(const std::string& path) {
  const std::string where = fmt::format("'{}'", path);
  if (H5Fis_hdf5(path.c_str()) <= 0)
    throw DataError(where + ": is not an HDF5 file, or its beginning is damaged");
  const Id file(check_data(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access_properties().get()), where,
                           "open as an HDF5 file"));
  // The file stays open as long as an object in it, so its own identifier is not kept.
  return Group(Id(check_data(H5Gopen2(file.get(), "/", H5P_DEFAULT), where, "open the root")), path,
               "/");
}

Group open_file(const std::string& path, bool guarded) {
  require_readable(path);
  prepare();
  if (guarded) try_in_child(path);
  return open_unguarded(path);
}

namespace {

Id create_file(const std::string& temporary, const std::string& target) {
  prepare();
  const Id creation(H5Pcreate(H5P_FILE_CREATE));
  H5Pset_obj_track_times(creation.get(), 0);
  H5Pset_attr_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  H5Pset_link_creation_order(creation.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  const Id access = access_properties();
  H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG);  // also what the caller still holds open
  return Id(check_io(H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()),
                     fmt::format("'{}'", target), "create the output"));
}

}  // namespace

NewFile::NewFile(const std::string& path)
    : output_(path, hdf5_kind),
      file_(create_file(output_.temporary(), path)),
      root_(Id(H5Gopen2(file_.get(), "/", H5P_DEFAULT)), path, "/") {}

NewFile::~NewFile() {
  // Closing would flush to a disk that may be full, and HDF5 can crash when that fails. The
  // temporary file is removed, so its content does not matter.
  file_.release();
}

void NewFile::commit() {
  const std::string where = fmt::format("'{}'", output_.target());
  check_io(H5Fflush(file_.get(), H5F_SCOPE_GLOBAL), where, "write the output");
  root_ = Group(Id(), output_.target(), "/");
  check_io(H5Fclose(file_.release()), where, "write the output");
  output_.commit();
}

}  // namespace fp8scope::h5
