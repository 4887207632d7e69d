#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/options.hpp"
#include "src/output_file.hpp"

namespace fp8scope {

namespace {

/// The folder that holds the Python package: FP8SCOPE_PYTHONPATH, or beside the program as built
/// (build/PRESET/fp8scope) or installed (bin/fp8scope). Empty: Python finds an installed package.
std::string package_folder() {
  if (const char* given = std::getenv("FP8SCOPE_PYTHONPATH")) return given;
  std::error_code ignored;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const char* place : {"../../python", "../share/fp8scope/python"})
    if (std::filesystem::exists(program / place / "fp8scope/page.py", ignored))
      return std::filesystem::weakly_canonical(program / place, ignored).string();
  return "";
}

/// Runs a program with these words and the standard output and error of this one; its exit code, or
/// -1 if it cannot be started.
int run_program(const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ) != 0) return -1;
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The first Python that has what the report needs: FP8SCOPE_PYTHON, or that of the system, or that of
/// the PATH.
std::string find_python() {
  const char* given = std::getenv("FP8SCOPE_PYTHON");
  const std::vector<std::string> places =
      given ? std::vector<std::string>{given} : std::vector<std::string>{"/usr/bin/python3", "python3"};
  for (const std::string& python : places)
    if (run_program({python, "-c", "try:\n import h5py, numpy, plotly\nexcept ImportError:\n raise SystemExit(1)"}) == 0)
      return python;
  throw SkippedError(fmt::format("report: no Python with h5py, numpy and plotly ({}); apt-get install python3-h5py "
                                 "python3-plotly, or name one in FP8SCOPE_PYTHON", fmt::join(places, ", ")));
}

}  // namespace

int run_report(const Args& args) {
  Options options("report", "RESULTS");
  options.add("output,o", "FILE", "HTML file, default report.html beside the results");
  options.add("title", "TEXT", "heading of the page");
  if (!options.parse(args)) return 0;
  const std::filesystem::path input = options.words()[0];
  const bool sweep = std::filesystem::is_directory(input);
  const auto beside = (sweep ? input : input.parent_path()) / "report.html";
  const std::string output = options.text_or("output", beside.string());
  require_other_file(output, input.string());

  const std::string folder = package_folder(), old = std::getenv("PYTHONPATH") ? std::getenv("PYTHONPATH") : "";
  if (!folder.empty()) setenv("PYTHONPATH", (old.empty() ? folder : folder + ":" + old).c_str(), 1);
  std::vector<std::string> words{find_python(), "-m", "fp8scope", "report", input.string(), "-o", output};
  if (const auto title = options.text("title")) words.insert(words.end(), {"--title", *title});
  return run_program(words);
}

}  // namespace fp8scope
