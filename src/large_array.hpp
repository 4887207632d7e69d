#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace fp8scope {

/// Memory for tensors: not cleared, and where it is large, in large pages. To touch the small pages of
/// fresh memory costs as much as a cast does.
template <class T>
struct LargeAllocator {
  using value_type = T;
  static constexpr std::size_t page = std::size_t{2} << 20;

  LargeAllocator() = default;
  template <class U>
  LargeAllocator(const LargeAllocator<U>&) {}

  T* allocate(std::size_t n) {
    void* p = ::operator new(n * sizeof(T), alignment(n));
#ifdef MADV_HUGEPAGE
    if (n >= page / sizeof(T)) ::madvise(p, n * sizeof(T) / page * page, MADV_HUGEPAGE);  // a wish: failing is no fault
#endif
    return static_cast<T*>(p);
  }
  void deallocate(T* p, std::size_t n) { ::operator delete(p, alignment(n)); }

  /// What vector::resize() appends has no value until it is written.
  template <class U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <class U, class... Arguments>
  void construct(U* at, Arguments&&... arguments) {
    ::new (static_cast<void*>(at)) U(std::forward<Arguments>(arguments)...);
  }

  friend bool operator==(const LargeAllocator&, const LargeAllocator&) { return true; }

 private:
  static std::align_val_t alignment(std::size_t n) {
    return std::align_val_t{n >= page / sizeof(T) ? page : std::size_t{64}};
  }
};

/// A tensor's elements.
template <class T>
using LargeArray = std::vector<T, LargeAllocator<T>>;

}  // namespace fp8scope
