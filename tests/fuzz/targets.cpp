#include "tests/fuzz/targets.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "sim/format.hpp"
#include "sim/recipe.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/import/import_plan.hpp"
#include "src/import/source.hpp"
#include "src/import/step_reader.hpp"
#include "src/import/synth.hpp"
#if __has_include("src/recipes/recipe_file.hpp")
#include "src/recipes/recipe_file.hpp"
#endif
#if __has_include("src/sweep/plan.hpp")
#include "src/sweep/journal.hpp"
#include "src/sweep/plan.hpp"
#endif

namespace fp8scope::fuzz {

namespace {

[[noreturn]] void fault(const std::string& what) {
  fmt::print(stderr, "fuzz: {}\n", what);
  std::abort();
}

void require_one_line(const std::string& message) {
  for (const char c : message)
    if (static_cast<unsigned char>(c) < 0x20) fault("a message of several lines: " + message);
  if (message.empty()) fault("an empty message");
}

/// Calls a parser of files, which may refuse with DataError only.
template <class Parse>
void parse_file(Parse parse) {
  try {
    parse();
  } catch (const DataError& error) {
    require_one_line(error.what());
  }
}

/// Reads every element of what fits into a few megabytes.
void read_all(const std::vector<SourceTensor>& tensors) {
  std::uint64_t budget = std::uint64_t{4} << 20;
  for (const SourceTensor& tensor : tensors) {
    if (tensor.data->size() > budget) continue;
    budget -= tensor.data->size();
    static_cast<void>(tensor.data->text(0, static_cast<std::size_t>(tensor.data->size())));
  }
}

/// From tensors to a trace in every way but the writing.
void import(const std::vector<SourceTensor>& tensors) {
  ImportOptions options;
  Options words("fuzz", "");
  TraceSelection::describe(words);
  const TraceSelection everything(words);
  for (const bool stacked : {false, true}) try {
      options.stacked = stacked;
      const NameMap names("", {"L", "x", {}, ""});
      const ImportPlan plan = plan_import(tensors, tensors.size() == 1 ? names : NameMap("", {}),
                                          everything, options);
      for (const PlannedTensor& tensor : plan.tensors)
        for (const auto& [step, source] : tensor.steps)
          if (tensor.info.rows * tensor.info.cols < (1 << 16))
            StepReader(tensor.info, source).read(0, tensor.info.rows);
    } catch (const UsageError& error) {
      require_one_line(error.what());
    }
}

void safetensors(Input bytes) {
  parse_file([&] {
    const auto tensors = safetensors_source(bytes_in_memory(bytes, "'fuzz'"), {});
    read_all(tensors), import(tensors);
  });
}

void npy(Input bytes) {
  parse_file([&] {
    const auto tensors = npy_source(bytes_in_memory(bytes, "'fuzz'"), {});
    read_all(tensors), import(tensors);
  });
}

void zip(Input bytes) {
  parse_file([&] {
    const auto tensors = npz_source(bytes_in_memory(bytes, "'fuzz'"), {});
    read_all(tensors), import(tensors);
  });
}

/// What a user types: refused with UsageError or std::invalid_argument.
template <class Parse>
void parse_words(Parse parse) {
  try {
    parse();
  } catch (const Error& error) {
    require_one_line(error.what());
  } catch (const std::invalid_argument&) {
  }
}

void recipe(Input bytes) {
  const std::string text(bytes.begin(), bytes.end());
  parse_words([&] { make_recipe(text, {}); });
  parse_words([&] { parse_format(text); });
}

void words(Input bytes) {
  const std::string text(bytes.begin(), bytes.end());
  parse_words([&] { parse_outliers(text); });
  parse_words([&] { parse_element(text); });
  parse_words([&] { parse_shape(text); });
  parse_words([&] { NumberRanges(text, "--steps").holds(7); });
  parse_words([&] { parse_bytes(text, "--max-mem"); });
}

/// While it lives, the working folder is an empty one and the standard output goes nowhere.
class Sandbox {
 public:
  Sandbox() : before_(std::filesystem::current_path()), stdout_(dup(STDOUT_FILENO)) {
    std::string folder = (std::filesystem::temp_directory_path() / "fp8scope-fuzz-XXXXXX").string();
    if (!mkdtemp(folder.data())) fault("no temporary folder");
    folder_ = folder;
    std::filesystem::current_path(folder_);
    std::fflush(stdout);
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    dup2(null, STDOUT_FILENO), close(null);
  }
  ~Sandbox() {
    std::fflush(stdout);
    dup2(stdout_, STDOUT_FILENO), close(stdout_);
    std::filesystem::current_path(before_);
    std::filesystem::remove_all(folder_);
  }

 private:
  std::filesystem::path before_, folder_;
  int stdout_;
};

/// The commands themselves; not bench, which only burns time, nor report, which starts Python.
void argv(Input bytes) {
  std::vector<std::string> args(1);
  std::size_t digits = 0;
  for (const std::uint8_t byte : bytes) {
    digits = byte >= '0' && byte <= '9' ? digits + 1 : 0;
    if (byte == '\n')
      args.emplace_back();
    else if (byte != '/' && byte != 0 && digits < 3)  // inside the folder, and nothing large
      args.back() += static_cast<char>(byte);
  }
  const Sandbox sandbox;
  for (const Command& command : commands())
    if (command.name == args[0] && command.name != "bench" && command.name != "report")
      parse_words([&] { command.run({args.begin() + 1, args.end()}); });
}

#if __has_include("src/recipes/recipe_file.hpp")
void recipe_file(Input bytes) {
  const std::string text(bytes.begin(), bytes.end());
  parse_words([&] { parse_recipe(text, "fuzz.toml"); });
}
#endif

#if __has_include("src/sweep/plan.hpp")
/// From TOML to a plan of at most a thousand points.
void sweep(Input bytes) {
  const std::string text(bytes.begin(), bytes.end());
  parse_words([&] {
    Config config;
    config.add_text(text, "fuzz.toml");
    SweepPlan(read_spec(config, "fuzz.toml"), 1000, {}, {});
  });
}

/// A journal of the plan whose hash is 64 times '0'.
void journal(Input bytes) {
  const Sandbox sandbox;
  std::ofstream("journal", std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()),
                                                   static_cast<std::streamsize>(bytes.size()));
  parse_file([&] {
    const std::string hash(64, '0');
    Journal reader("journal", hash);
    std::vector<std::uint64_t> places;
    reader.scan([&](std::uint64_t, std::string_view, std::uint64_t place) { places.push_back(place); });
    for (const std::uint64_t place : places) reader.payload(place);
    JournalWriter("journal", hash).append(7, "payload");
  });
}
#endif

// To add a parser: a function, a row here, a folder of the same name under corpus/, and its name in the
// list of tests/CMakeLists.txt.
constexpr Target table[] = {
    {"safetensors", safetensors},
    {"npy", npy},
    {"zip", zip},
    {"recipe", recipe},
    {"words", words},
    {"argv", argv},
#if __has_include("src/recipes/recipe_file.hpp")
    {"recipe_file", recipe_file},
#endif
#if __has_include("src/sweep/plan.hpp")
    {"sweep", sweep},
    {"journal", journal},
#endif
};

}  // namespace

std::span<const Target> targets() { return table; }

}  // namespace fp8scope::fuzz
