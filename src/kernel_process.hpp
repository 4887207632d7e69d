#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace fp8scope {

/// A function in a shared library, "./libmine.so:symbol".
struct KernelName {
  std::string library, symbol;
};

/// Throws UsageError unless `text` is LIBRARY:SYMBOL.
KernelName parse_kernel_name(const std::string& text);

/// Memory that a child process shares, its end at a page that is not there.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes);
  /// A copy of an array, which may not be written.
  template <class T>
  explicit GuardedMemory(const std::vector<T>& from) : GuardedMemory(from.size() * sizeof(T)) {
    fill(from.data());
    forbid_writing();
  }
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  /// The last bytes before the missing page. Elements of at most 16 bytes are aligned if their sum is.
  void* data() const { return static_cast<std::byte*>(base_) + (pages_ - bytes_); }
  std::size_t size() const { return bytes_; }
  void set(int byte);

 private:
  void fill(const void* from);
  void forbid_writing();
  std::size_t bytes_, pages_ = 0, all_ = 0;
  void* base_ = nullptr;
};

using AnyFunction = void (*)();

/// What a kernel is called with: one case of it.
class KernelCall {
 public:
  virtual ~KernelCall() = default;
  /// Calls the function, in a child process, and returns what it returns.
  virtual int invoke(AnyFunction function) const = 0;
  /// Every array that the kernel writes.
  virtual std::vector<GuardedMemory*> outputs() = 0;
  /// "random 128x128x1024".
  virtual std::string name() const = 0;
  /// A function of this program that "builtin:symbol" names; nullptr if there is none.
  virtual AnyFunction builtin(const std::string& symbol) const = 0;
  virtual std::string builtins() const = 0;  ///< their names, "a and b"
};

/// An array as two calls left it, filled differently before each.
struct WrittenTwice {
  std::vector<std::byte> first, again;

  /// Its words of 1, 2 or 4 bytes.
  std::vector<std::uint32_t> words(int width) const { return words_of(first, width); }
  std::vector<std::uint32_t> words_again(int width) const { return words_of(again, width); }
  /// Words that neither call changed.
  std::size_t unwritten(int width) const;

 private:
  static std::vector<std::uint32_t> words_of(const std::vector<std::byte>& bytes, int width);
};

/// Calls the kernel twice in a child process: what it does to its memory, its process or its time stays there. Empty if
/// it says that it does not support the case.
///
/// returns  one for each of call.outputs()
/// Throws IoError if the library cannot be loaded or the symbol is missing, DataError if the kernel
/// crashes, fails, ends its process or passes `seconds` in a call, SkippedError if it says that there is no device.
std::vector<WrittenTwice> call_twice(const KernelName& kernel, KernelCall& call, unsigned seconds);

}  // namespace fp8scope
