#pragma once

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "src/errors.hpp"

namespace fp8scope {

/// A list of plain values that is written once and read in order: what does not fit into a buffer
/// of 4096 values lies in a nameless temporary file.
template <class T>
class Spill {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  void push(const T& value) {
    buffer_.push_back(value);
    if (buffer_.size() >= limit) flush();
  }
  std::size_t size() const { return in_file_ + buffer_.size(); }

  /// visit(value) for every value, in the order of push(). Throws IoError.
  template <class Visit>
  void for_each(Visit visit) const {
    if (file_) {
      std::rewind(file_.get());
      std::vector<T> block(limit);
      for (std::size_t read = 0; read < in_file_; read += limit) {
        if (std::fread(block.data(), sizeof(T), limit, file_.get()) != limit) fail("read back");
        for (const T& value : block) visit(value);
      }
    }
    for (const T& value : buffer_) visit(value);
  }

 private:
  static constexpr std::size_t limit = 4096;

  [[noreturn]] static void fail(const char* what) {
    throw IoError(std::string("cannot ") + what + " a temporary file of tiles: " + std::strerror(errno) +
                  "; make room in the temporary folder or ask for fewer tiles");
  }
  void flush() {
    if (!file_) file_.reset(std::tmpfile());
    if (!file_) fail("create");
    if (std::fwrite(buffer_.data(), sizeof(T), buffer_.size(), file_.get()) != buffer_.size() ||
        std::fflush(file_.get()) != 0)
      fail("write");
    in_file_ += buffer_.size();
    buffer_.clear();
  }
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::vector<T> buffer_;
  std::size_t in_file_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace fp8scope
