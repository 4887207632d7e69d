#pragma once

// The part of oneTBB that this project uses, on plain threads, for the build with ThreadSanitizer: it knows
// the order that std::thread and std::mutex give, but not that of TBB's library, which Debian builds without
// it, and would report every task. Slow, and as wild an order of tasks as any scheduler may choose.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace tbb {

namespace plain {

/// Threads of the arena or the limit in force; 4 without either.
inline std::atomic<int>& threads() {
  static std::atomic<int> count{4};
  return count;
}

class Threads {
 public:
  explicit Threads(int count) : before_(threads().exchange(count > 0 ? count : 4)) {}
  ~Threads() { threads() = before_; }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

 private:
  int before_;
};

/// Runs work() on `count` threads and waits; throws what the first one threw.
template <class Work>
void on_threads(std::size_t count, const Work& work) {
  std::mutex mutex;
  std::exception_ptr failure;
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < count; ++i)
    running.emplace_back([&] {
      try {
        work();
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    });
  for (std::thread& thread : running) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace plain

class global_control {
 public:
  enum parameter { max_allowed_parallelism };
  global_control(parameter, std::size_t count) : threads_(static_cast<int>(count)) {}

 private:
  plain::Threads threads_;
};

class task_arena {
 public:
  explicit task_arena(int threads = 4) : threads_(threads) {}
  template <class Work>
  auto execute(const Work& work) {
    const plain::Threads threads(threads_);
    return work();
  }

 private:
  int threads_;
};

template <class Index, class Body>
void parallel_for(Index first, Index last, const Body& body) {
  if (!(first < last)) return;
  std::atomic<Index> next{first};
  const auto count = std::min<std::size_t>(static_cast<std::size_t>(plain::threads().load()),
                                           static_cast<std::size_t>(last - first));
  plain::on_threads(count, [&] {
    for (Index i = next++; i < last; i = next++) body(i);
  });
}

template <class T>
class enumerable_thread_specific {
 public:
  enumerable_thread_specific() : make_([] { return T(); }) {}
  template <class Make>
  explicit enumerable_thread_specific(Make make) : make_(std::move(make)) {}

  T& local() {
    const std::lock_guard lock(mutex_);
    for (auto& [id, value] : all_)
      if (id == std::this_thread::get_id()) return value;
    all_.emplace_back(std::this_thread::get_id(), make_());
    return all_.back().second;
  }

  class iterator {
   public:
    explicit iterator(typename std::list<std::pair<std::thread::id, T>>::iterator at) : at_(at) {}
    T& operator*() const { return at_->second; }
    T* operator->() const { return &at_->second; }
    iterator& operator++() {
      ++at_;
      return *this;
    }
    bool operator!=(const iterator& other) const { return at_ != other.at_; }
    bool operator==(const iterator& other) const { return at_ == other.at_; }

   private:
    typename std::list<std::pair<std::thread::id, T>>::iterator at_;
  };
  iterator begin() { return iterator(all_.begin()); }
  iterator end() { return iterator(all_.end()); }

 private:
  std::function<T()> make_;
  std::mutex mutex_;
  std::list<std::pair<std::thread::id, T>> all_;
};

enum class filter_mode { parallel, serial_in_order, serial_out_of_order };

class flow_control {
 public:
  void stop() { stopped_ = true; }
  bool stopped() const { return stopped_; }

 private:
  bool stopped_ = false;
};

namespace plain {

struct Stage {
  filter_mode mode;
  std::function<void*(void*, flow_control&)> run;
};

}  // namespace plain

/// A chain of stages between pointers.
template <class In, class Out>
struct filter {
  std::vector<plain::Stage> stages;
};

template <class In, class Out, class Body>
filter<In, Out> make_filter(filter_mode mode, Body body) {
  return {{{mode, [body](void* item, flow_control& control) -> void* {
              if constexpr (std::is_void_v<In>) {
                return body(control);
              } else if constexpr (std::is_void_v<Out>) {
                return body(static_cast<In>(item)), nullptr;
              } else {
                return body(static_cast<In>(item));
              }
            }}}};
}

template <class In, class Middle, class Out>
filter<In, Out> operator&(filter<In, Middle> a, filter<Middle, Out> b) {
  for (plain::Stage& stage : b.stages) a.stages.push_back(std::move(stage));
  return {std::move(a.stages)};
}

/// Every thread takes an item through all stages; serial ones in the order of the first.
inline void parallel_pipeline(std::size_t most_items, const filter<void, void>& chain) {
  std::mutex mutex;
  std::condition_variable turned;
  std::vector<std::size_t> turn(chain.stages.size(), 0);
  std::size_t items = 0;
  bool failed = false;
  flow_control control;
  const auto in_turn = [&](std::size_t stage, std::size_t item, auto run) {
    std::unique_lock lock(mutex);
    turned.wait(lock, [&] { return failed || turn[stage] == item; });
    if (failed) return false;
    lock.unlock();
    run();
    lock.lock();
    ++turn[stage];
    turned.notify_all();
    return true;
  };
  const auto work = [&] {
    while (true) {
      std::unique_lock lock(mutex);
      const std::size_t item = items++;
      lock.unlock();
      void* value = nullptr;
      bool more = true;
      for (std::size_t s = 0; s < chain.stages.size() && more; ++s) {
        const auto run = [&] {
          if (s == 0 && control.stopped()) more = false;
          if (more) value = chain.stages[s].run(value, control);
          if (s == 0 && control.stopped()) more = false;
        };
        if (s > 0 && chain.stages[s].mode == filter_mode::parallel)
          run();
        else if (!in_turn(s, item, run))
          return;
      }
      if (!more) return;
    }
  };
  const auto guarded = [&] {
    try {
      work();
    } catch (...) {
      const std::lock_guard lock(mutex);
      failed = true;
      turned.notify_all();
      throw;
    }
  };
  plain::on_threads(std::min<std::size_t>(most_items, static_cast<std::size_t>(plain::threads().load())), guarded);
}

}  // namespace tbb
