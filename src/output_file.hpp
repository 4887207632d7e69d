#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "src/interrupt.hpp"

namespace fp8scope {

/// What a format of files is called and how each of its files begins.
struct FileKind {
  std::string_view name = "another kind of file", signature = {};
};
inline constexpr FileKind hdf5_kind{"an HDF5 file", "\x89HDF\r\n\x1a\n"};
inline constexpr FileKind npy_kind{"a .npy file", "\x93NUMPY"};

/// A file that appears under its name whole or not at all.
///
/// The content goes to a temporary file beside the target; commit() syncs it to the disk, renames
/// it and syncs the folder. Without a commit, or after Ctrl-C, the temporary file is removed and a file
/// that stood there before is left as it was.
class OutputFile {
 public:
  /// Throws IoError if the target is not a regular file or its folder cannot be written; UsageError if
  /// a file of another known kind stands there.
  explicit OutputFile(const std::string& target, FileKind kind = {});
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& target() const { return target_; }
  /// Where the content goes until commit(); exists, empty at first.
  const std::string& temporary() const { return temporary_; }
  /// Appends to the temporary file. Throws IoError (disk full, file size limit).
  void write(std::string_view bytes);
  /// Throws IoError; the temporary file is then removed.
  void commit();

 private:
  std::string target_, temporary_;
  std::optional<RemovedOnSignal> removed_on_signal_;
  int descriptor_ = -1;
  bool committed_ = false;
};

/// Throws UsageError if `output` is the same file as `input`, under whatever name.
void require_other_file(const std::string& output, const std::string& input);

}  // namespace fp8scope
