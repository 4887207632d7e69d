// Thousands of damaged safetensors, npy, npz, HDF5 and journal files: no crash, no hang, no file that eats the
// memory; each is refused in one line or read correctly. Every reader runs in a child process, so that a
// crash is counted and the rest goes on.
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <bit>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "src/array.hpp"
#include "src/errors.hpp"
#include "src/import/import.hpp"
#include "src/npy.hpp"
#include "src/sweep/journal.hpp"
#include "src/trace.hpp"
#include "tests/mutants.hpp"
#include "tests/temporary_folder.hpp"

/// The HDF5 library does not free what it held when a file was damaged.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

#ifndef __has_feature
#define __has_feature(feature) 0  // GCC says it with macros
#endif

namespace fp8scope {
namespace {

/// Sanitizers map terabytes, so no limit on the address space can be set.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || __has_feature(address_sanitizer)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

enum Result { refused, same, other_values, detected, several_lines, wrong_error, no_memory, crash, hang, results };
constexpr const char* result_names[] = {"refused",       "read, the same values", "read, as the file now says",
                                        "read, checksum differs", "FAULT: not one line",   "FAULT: wrong kind of error",
                                        "FAULT: memory", "FAULT: crash",          "FAULT: hang"};

/// One reader, the good files it starts from, and what they hold.
struct Family {
  std::string name, ending;
  std::vector<std::string> seeds;
  Result (*read)(const std::string& path);
};

/// How a file that was refused was refused.
template <class Read>
Result outcome(Read read) {
  try {
    return read();
  } catch (const DataError& error) {
    return std::string(error.what()).find('\n') == std::string::npos ? refused : several_lines;
  } catch (const UsageError& error) {  // names that say neither layer nor operand
    return std::string(error.what()).find("--") != std::string::npos ? refused : wrong_error;
  } catch (const std::bad_alloc&) {
    return no_memory;
  } catch (const std::exception& error) {
    fmt::print(stderr, "wrong error: {}\n", error.what());
    return wrong_error;
  }
}

const std::vector<std::string>& names() {
  static const std::vector<std::string> all{"L00.down/x", "L00.down/w"};
  return all;
}

/// Values 1, 2, 3 ... in both tensors: what a mutant of the data alone changes shows up.
std::vector<float> ramp(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
  return values;
}

/// Copies a file that was accepted, and its trace, to where tests/oracle_foreign.py reads both again.
void keep_for_the_oracle(const std::string& path, const std::string& trace) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path() / "accepted";
  if (!std::filesystem::exists(folder)) return;
  static int number = 0;
  const std::string stem = fmt::format("{}-{}", getpid(), number++);
  std::filesystem::copy(path, folder / (stem + std::filesystem::path(path).extension().string()));
  std::filesystem::copy(trace, folder / (stem + ".h5"));
}

/// Imports a foreign file as a user would, then reads the trace: its own checksums must hold.
Result import_and_verify(const std::string& path) {
  return outcome([&] {
    Options words("test", "");
    TraceSelection::describe(words);
    const std::string trace = path + ".trace.h5";
    std::remove(trace.c_str());
    const ImportOptions options;
    import_trace({path}, trace, NameMap("", path.ends_with(".npy") ? TraceName{"L", "x", {}, ""} : TraceName{}),
                 TraceSelection(words), options);
    const Trace read(trace);
    for (const TraceCheck& check : verify(read))
      if (!check.good) throw std::logic_error("imported " + check.what + ": " + check.message);
    keep_for_the_oracle(path, trace);
    bool equal = read.tensors().size() == (path.ends_with(".npy") ? 1u : names().size());
    for (std::size_t t = 0; t < read.tensors().size() && equal; ++t) {
      const TensorInfo& info = read.tensors()[t];
      std::vector<float> values(static_cast<std::size_t>(info.rows * info.cols));
      read.read_rows(t, 0, 0, info.rows, values.data());
      equal = values == ramp(info.rows * info.cols) && info.rows == 6 && info.cols == 8;
    }
    return equal ? same : other_values;
  });
}

Result verify_trace(const std::string& path) {
  return outcome([&] {
    const Trace trace(path);
    for (const TraceCheck& check : verify(trace))
      if (!check.good) return detected;
    return same;
  });
}

const std::string plan_hash(64, 'a');

std::string journal_payload(std::uint64_t item) { return std::string(20 + 30 * item, static_cast<char>('A' + item)); }

/// Whatever is damaged: a record that the scan shows is one that was written.
Result scan_journal(const std::string& path) {
  return outcome([&] {
    std::uint64_t seen = 0;
    const JournalScan scan = Journal(path, plan_hash).scan([&](std::uint64_t item, std::string_view payload, std::uint64_t) {
      if (item >= 6 || payload != journal_payload(item)) throw std::logic_error("a record that nobody wrote");
      seen |= 1u << item;
    });
    return seen == 63 && scan.damaged + scan.torn == 0 ? same : detected;
  });
}

class Mutants : public TemporaryFolder {
 protected:
  std::string numpy(const std::string& script) {
    const std::string command = fmt::format("cd '{}' && /usr/bin/python3 -c \"import numpy as np; {}\"", path(""), script);
    return std::system(command.c_str()) == 0 ? "" : "numpy failed";
  }

  std::string safetensors(bool bf16_too) {
    const std::vector<float> values = ramp(48);
    std::string data(reinterpret_cast<const char*>(values.data()), 192);
    std::string header = R"({"__metadata__":{"format":"pt"},"L00.down/x":{"dtype":"F32","shape":[6,8],"data_offsets":[0,192]},)";
    if (bf16_too) {
      header += R"("L00.down/w":{"dtype":"BF16","shape":[6,8],"data_offsets":[192,288]}})";
      for (const float value : values) data.append(reinterpret_cast<const char*>(&value) + 2, 2);
    } else {
      header += R"("L00.down/w":{"dtype":"F32","shape":[6,8],"data_offsets":[192,384]}})";
      data += data;
    }
    header.append((8 - header.size() % 8) % 8, ' ');
    std::string length(8, '\0');
    length[0] = static_cast<char>(header.size() & 255), length[1] = static_cast<char>(header.size() >> 8);
    return length + header + data;
  }

  std::string npy() {
    const std::vector<float> values = ramp(48);
    write_npy(path("seed.npy"), NpyType::f4, {6, 8}, std::as_bytes(std::span(values)));
    return bytes_of(path("seed.npy"));
  }

  std::string trace(const std::string& dtype, int deflate) {
    TraceWriter writer(path("seed.h5"), {3, 4}, {{3, 4}, {"L00.down/x"}, {48, 48}},
                       {{"title", std::string("ramp")}}, deflate);
    TensorInfo info;
    info.layer = "L00.down", info.operand = "x", info.dtype = dtype, info.rows = 6, info.cols = 8;
    info.gemms = usual_gemms("x");
    const int x = writer.add(info);
    std::vector<float> values = ramp(48);
    std::vector<std::uint16_t> halves;
    for (const float value : values) halves.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16));
    for (const std::size_t step : {0u, 1u})
      writer.write_rows(x, step, 0, 6, dtype == "bfloat16" ? static_cast<const void*>(halves.data()) : values.data());
    writer.commit();
    return bytes_of(path("seed.h5"));
  }

  std::string journal() {
    {
      JournalWriter writer(path("seed.journal"), plan_hash);
      for (std::uint64_t item = 0; item < 6; ++item) writer.append(item, journal_payload(item));
    }
    return bytes_of(path("seed.journal"));
  }

  std::vector<Family> families() {
    std::vector<std::string> archives;
    for (const char* kind : {"savez", "savez_compressed"}) {
      const std::string fault = numpy(fmt::format(
          "x=np.arange(1,49,dtype='f4').reshape(6,8); np.{}('seed.npz', **{{'L00.down/x':x,'L00.down/w':x}})", kind));
      EXPECT_EQ(fault, "");
      archives.push_back(bytes_of(path("seed.npz")));
    }
    return {{"safetensors", ".safetensors", {safetensors(false), safetensors(true)}, import_and_verify},
            {"npy", ".npy", {npy()}, import_and_verify},
            {"npz", ".npz", archives, import_and_verify},
            {"hdf5", ".h5", {trace("bfloat16", 1), trace("float32", 0)}, verify_trace},
            {"journal", ".journal", {journal()}, scan_journal}};
  }

  /// Reads mutants [first, last) of a family, each with the seed of its number, in children that are
  /// replaced when they die. Returns the count of every result.
  std::map<Result, int> run(const Family& family, int count, std::uint64_t seed) {
    auto* progress = static_cast<Shared*>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                               MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    std::memset(progress, 0, sizeof(Shared));
    while (progress->next < count) {
      const pid_t child = fork();
      if (child == 0) work(family, count, seed, progress);
      int status = 0;
      waitpid(child, &status, 0);
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) break;
      const bool hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
      ++progress->counts[hung ? hang : crash];
      std::filesystem::copy(path("mutant" + family.ending),
                            std::filesystem::temp_directory_path() /
                                fmt::format("fp8scope-mutant-{}-{}{}", seed, progress->next, family.ending),
                            std::filesystem::copy_options::overwrite_existing);
      ++progress->next;
    }
    std::map<Result, int> counts;
    for (int i = 0; i < results; ++i)
      if (progress->counts[i] > 0) counts[static_cast<Result>(i)] = progress->counts[i];
    munmap(progress, sizeof(Shared));
    return counts;
  }

 private:
  struct Shared {
    int next, counts[results];
  };

  [[noreturn]] void work(const Family& family, int count, std::uint64_t seed, Shared* progress) {
    const rlimit memory{rlim_t{6} << 30, rlim_t{6} << 30};
    if (!sanitized) setrlimit(RLIMIT_AS, &memory);
    const std::string name = path("mutant" + family.ending);
    for (; progress->next < count; ++progress->next) {
      Mutator mutator(seed * 1'000'003 + static_cast<std::uint64_t>(progress->next));
      const std::string& base = family.seeds[mutator.below(family.seeds.size())];
      write_bytes(name, mutator.mutate(base, family.seeds));
      alarm(120);
      ++progress->counts[family.read(name)];
      alarm(0);
    }
    _exit(0);
  }
};

TEST_F(Mutants, SeedsThemselvesAreRead) {
  for (const Family& family : families())
    for (const std::string& seed : family.seeds) {
      write_bytes(path("good" + family.ending), seed);
      EXPECT_EQ(family.read(path("good" + family.ending)), same) << family.name;
    }
}

/// The check of this test: a reader that dies, hangs or throws something else is counted.
TEST_F(Mutants, AFaultyReaderIsCaught) {
  const auto faulty = [](const std::string& path) -> Result {
    const std::size_t kind = bytes_of(path).size() % 4;
    if (kind == 0) std::abort();
    return outcome([kind]() -> Result {
      if (kind == 1) throw std::logic_error("a fault");
      if (kind == 2) throw DataError("one line");
      throw std::bad_alloc();
    });
  };
  const Family family{"faulty", ".bin", {std::string(64, 'a'), std::string(63, 'b')}, faulty};
  const auto counts = run(family, 60, 1);
  for (const Result result : {crash, wrong_error, refused, no_memory}) EXPECT_GT(counts.count(result), 0u) << result;
}

/// Counts by outcome; everything from several_lines on is a fault.
void expect_no_fault(const Family& family, const std::map<Result, int>& counts, int count) {
  int sum = 0;
  for (const auto& [result, n] : counts) {
    fmt::print("{:12} {:28} {:6}\n", family.name, result_names[result], n);
    EXPECT_LT(result, several_lines) << family.name << ": " << n << " times " << result_names[result];
    sum += n;
  }
  EXPECT_EQ(sum, count);
  EXPECT_GT(counts.count(refused), 0u);
}

/// Of each family: a hundred, or what the environment says (the nightly test: 5000).
TEST_F(Mutants, AreRefusedOrReadCorrectly) {
  const char* many = std::getenv("FP8SCOPE_MUTANTS");
  const int count = many ? std::atoi(many) : 100;
  std::filesystem::create_directory(path("accepted"));
  for (const Family& family : families()) expect_no_fault(family, run(family, count, 1), count);
  // What was read of those that were not refused is what NumPy reads of them.
  EXPECT_EQ(std::system(fmt::format("/usr/bin/python3 {}/tests/oracle_foreign.py {}", FP8SCOPE_SOURCE,
                                    path("accepted")).c_str()), 0);
}

}  // namespace
}  // namespace fp8scope
