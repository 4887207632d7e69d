#pragma once

// For hdf5*.cpp only: the one place that includes the HDF5 library.
#include <hdf5.h>
#include <hdf5_hl.h>

#include <string>
#include <type_traits>

#include "src/errors.hpp"
#include "src/hdf5.hpp"

namespace fp8scope::h5 {

static_assert(std::is_same_v<hid_t, std::int64_t>, "h5::Id holds an hid_t as int64_t");

/// Initialises the library once, and turns its printing off, which it keeps for each thread.
void prepare();

/// The innermost reason of the last failed call, in one line.
std::string reason();

[[noreturn]] void fail_data(const std::string& where, const std::string& what);
[[noreturn]] void fail_io(const std::string& where, const std::string& what);

/// Returns `result` unless it is negative. Throws DataError "WHERE: cannot WHAT: REASON".
template <class Result>
Result check_data(Result result, const std::string& where, const char* what) {
  if (result < 0) fail_data(where, what);
  return result;
}

/// As check_data(), for writing: throws IoError.
template <class Result>
Result check_io(Result result, const std::string& where, const char* what) {
  if (result < 0) fail_io(where, what);
  return result;
}

/// Opens a file that nothing was checked of, for the child process.
Group open_unguarded(const std::string& path);
/// Reads the file in a child process: a damaged one can crash or hang the library.
/// Throws DataError if it does, IoError if there can be no child.
void try_in_child(const std::string& path);

/// The type of the elements in memory, which is also their type in files that are written here.
Id element_type(Type type);
/// The row of the table of types that a type in a file is.
Type classify(hid_t file_type);
/// Variable-length UTF-8, which h5py and netCDF read as str.
Id text_type();

/// Reads every string of a dataset or an attribute with `read(memory type, buffer)`.
template <class Read>
std::vector<std::string> read_text(hid_t file_type, hid_t space, Read read) {
  const auto count = static_cast<std::size_t>(H5Sget_simple_extent_npoints(space));
  std::vector<std::string> texts;
  if (count == 0) return texts;
  if (H5Tis_variable_str(file_type) > 0) {
    std::vector<char*> pointers(count, nullptr);
    read(file_type, static_cast<void*>(pointers.data()));
    for (const char* text : pointers) texts.emplace_back(text ? text : "");
    H5Dvlen_reclaim(file_type, space, H5P_DEFAULT, pointers.data());
    return texts;
  }
  const std::size_t length = H5Tget_size(file_type);
  std::string all(count * length, '\0');
  read(file_type, static_cast<void*>(all.data()));
  for (std::size_t i = 0; i < count; ++i)
    texts.emplace_back(all.substr(i * length, length).c_str());
  return texts;
}

}  // namespace fp8scope::h5
