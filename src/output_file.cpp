#include "src/output_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <fstream>
#include <utility>

#include "src/errors.hpp"

namespace fp8scope {

namespace fs = std::filesystem;

namespace {

[[noreturn]] void fail(const std::string& target, const char* what, int error) {
  const char* hint = error == ENOSPC || error == EDQUOT ? "; free some space or choose another -o"
                     : error == EFBIG                   ? "; raise the file size limit (ulimit -f)"
                                                        : "";
  throw IoError(fmt::format("'{}': cannot {}: {}{}", target, what, std::strerror(error), hint));
}

/// The file that `target` means: the one a symbolic link points to, so that the link survives.
std::string resolved(const std::string& target) {
  if (target.empty()) throw UsageError("the name of the output file is empty");
  std::error_code error;
  if (!fs::is_symlink(target, error)) return target;
  const fs::path real = fs::weakly_canonical(target, error);
  return error ? target : real.string();
}

void sync_folder(const std::string& target) {
  const fs::path folder = fs::path(target).parent_path();
  const int descriptor =
      open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;  // a folder that may be written but not read: nothing more to do
  fsync(descriptor);
  close(descriptor);
}

constexpr FileKind kinds[] = {hdf5_kind, npy_kind, {"a zip or .npz archive", "PK\3\4"}};

/// "-o x.npy" where HDF5 is written must not cost the user x.npy. What is of no known kind, such as a
/// damaged file, is replaced.
void refuse_other_kind(const std::string& target, FileKind kind) {
  char begin[8] = {};
  std::ifstream(target, std::ios::binary).read(begin, sizeof begin);
  for (const FileKind& other : kinds)
    if (other.signature != kind.signature && std::string_view(begin, sizeof begin).starts_with(other.signature))
      throw UsageError(fmt::format("'{}' is there and is {}; the output is {}: choose another name", target,
                                   other.name, kind.name));
}

}  // namespace

OutputFile::OutputFile(const std::string& target, FileKind kind) : target_(resolved(target)) {
  // A write beyond the file size limit must be an error to report, not a deadly signal.
  std::signal(SIGXFSZ, SIG_IGN);
  struct stat status {};
  if (stat(target_.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) fail(target_, "write the output", EISDIR);
    if (!S_ISREG(status.st_mode))
      throw IoError(fmt::format("'{}': cannot write the output: not a regular file", target_));
    if (access(target_.c_str(), W_OK) != 0) fail(target_, "write the output", errno);
    refuse_other_kind(target_, kind);
  }
  const fs::path path(target_);
  const std::string stem = (path.parent_path() / ("." + path.filename().string())).string();
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = fmt::format("{}.{}-{}.part", stem, getpid(), attempt);
    descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ < 0 && errno != EEXIST) fail(target_, "create the output", errno);
  }
  removed_on_signal_.emplace(temporary_);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (!committed_) unlink(temporary_.c_str());
}

void OutputFile::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(target_, "write the output", errno);
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
}

void OutputFile::commit() {
  // A full disk may show up only now, when the system writes what it had buffered.
  if (fsync(descriptor_) != 0) fail(target_, "write the output", errno);
  if (close(std::exchange(descriptor_, -1)) != 0) fail(target_, "write the output", errno);
  if (rename(temporary_.c_str(), target_.c_str()) != 0) fail(target_, "write the output", errno);
  removed_on_signal_.reset();
  committed_ = true;
  sync_folder(target_);
}

void require_other_file(const std::string& output, const std::string& input) {
  std::error_code error;
  if (fs::equivalent(output, input, error) && !error)
    throw UsageError(
        fmt::format("'{}' is also the input; choose another name for the output", output));
}

}  // namespace fp8scope
