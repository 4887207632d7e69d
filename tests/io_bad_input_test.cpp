// What goes wrong with files: every failure is one line with the file's name, nothing half-written
// stays behind, and inputs keep their bytes.
#include <sys/resource.h>

#include <random>

#include "src/array.hpp"
#include "src/command.hpp"
#include "src/errors.hpp"
#include "src/output_file.hpp"
#include "src/result_file.hpp"
#include "src/trace.hpp"
#include "tests/same_bits.hpp"
#include "tests/temporary_folder.hpp"

/// The HDF5 library does not free what it held when a file was damaged or could not be written.
extern "C" const char* __lsan_default_suppressions() { return "leak:libhdf5"; }

namespace fp8scope {
namespace {

class BadInput : public TemporaryFolder {};
class BadOutput : public TemporaryFolder {};

/// Files may not grow beyond `bytes` while this lives: writes fail as on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit lower{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

/// A trace of one tensor of incompressible elements.
void write_trace(const std::string& path, std::int64_t rows) {
  const std::int64_t cols = 256;
  std::mt19937 random(1);
  std::vector<float> values(static_cast<std::size_t>(rows * cols));
  for (float& x : values) x = static_cast<float>(random()) * 0x1p-32f;
  TraceWriter writer(path, {0}, {{0}, {"L00.o/x"}, {1}}, {{"title", std::string("noise")}});
  TensorInfo info;
  info.layer = "L00.o", info.operand = "x", info.dtype = "float32", info.rows = rows,
  info.cols = cols;
  info.gemms = {{"fprop", 2}}, info.row_sampling = "first", info.rows_total = 2 * rows;
  writer.write_rows(writer.add(info), 0, 0, rows, values.data());
  writer.commit();
}

Results noise(std::size_t rows) {
  std::mt19937_64 random(1);
  Results results;
  auto& column = results.add("results", "noise").add<std::uint64_t>("x", "1", "x");
  for (std::size_t i = 0; i < rows; ++i) column.push_back(random());
  return results;
}

TEST_F(BadInput, AFileThatIsNotThereIsNamedWithTheReason) {
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { Trace t(path("no.h5")); }),
                           {"no.h5", "No such file"}));
  EXPECT_TRUE(
      is_line_with(message_of<IoError>([&] { read_results(path("")); }), {"is a directory"}));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { open_array(path("no.h5:x")); }),
                           {"no.h5", "No such file"}));
}

TEST_F(BadInput, AFileOfAnotherKindIsRefused) {
  write_bytes(path("a.h5"), "just some text");
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { Trace t(path("a.h5")); }),
                           {"a.h5", "not an HDF5 file"}));
  write_bytes(path("e.h5"), "");
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { Trace t(path("e.h5")); }),
                           {"e.h5", "not an HDF5 file"}));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { Trace t("/dev/null"); }),
                           {"/dev/null", "not a regular file"}));
}

TEST_F(BadInput, ATruncatedTraceIsRefusedWhereverItEnds) {
  write_trace(path("t.h5"), 16);
  const std::string whole = bytes_of(path("t.h5"));
  for (std::size_t part = 0; part < 20; ++part) {
    write_bytes(path("cut.h5"), whole.substr(0, whole.size() * part / 20));
    const std::string message = message_of<DataError>([&] { verify(Trace(path("cut.h5"))); });
    EXPECT_TRUE(is_line_with(message, {"cut.h5"})) << part;
  }
}

TEST_F(BadInput, DamagedDataIsFoundByItsChecksum) {
  write_trace(path("t.h5"), 64);
  std::string bytes = bytes_of(path("t.h5"));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);  // amid the noise
  write_bytes(path("t.h5"), bytes);
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] { verify(Trace(path("t.h5"))); }),
                           {"t.h5': /tensors/L00.o/x", "Fletcher32"}));
}

// The HDF5 library crashes on some of these; the reader must not.
TEST_F(BadInput, NoDamageOfTheFileCrashesTheReader) {
  write_trace(path("t.h5"), 2);
  const std::string whole = bytes_of(path("t.h5"));
  std::mt19937 random(7);
  int refused = 0;
  for (int mutant = 0; mutant < 200; ++mutant) {
    std::string bytes = whole;
    for (std::uint32_t flips = 1 + random() % 8; flips > 0; --flips)
      bytes[random() % bytes.size()] = static_cast<char>(random());
    write_bytes(path("m.h5"), bytes);
    try {
      verify(Trace(path("m.h5")));
    } catch (const Error& error) {
      EXPECT_TRUE(is_line_with(error.what(), {"m.h5"}));
      ++refused;
    }
  }
  EXPECT_GT(refused, 50);
}

// Two of the 37 among 3000 such files that crashed or hung HDF5 1.10.8 itself.
TEST_F(BadInput, FilesThatCrashOrHangTheLibraryDoNotCrashTheReader) {
  const std::string data = std::string(FP8SCOPE_SOURCE) + "/tests/data/";
  for (const char* name : {"crashes_hdf5.h5", "hangs_hdf5.h5"}) try {
      verify(Trace(data + name));  // another version of the library may read them
    } catch (const DataError& error) {
      EXPECT_TRUE(is_line_with(error.what(), {name}));
    }
}

TEST_F(BadInput, IsLeftAsItWas) {
  write_trace(path("t.h5"), 16);
  const std::string before = bytes_of(path("t.h5"));
  verify(Trace(path("t.h5")));
  open_array(path("t.h5:/tensors/L00.o/x"));
  EXPECT_TRUE(before == bytes_of(path("t.h5")));
  EXPECT_EQ(files(), std::vector<std::string>{"t.h5"});
}

TEST_F(BadInput, AnActionOrAFileThatDoesNotExistFailsWithTheExitCodeOfTheTable) {
  const auto code = [](const Args& args, int (*command)(const Args&)) {
    try {
      return static_cast<Exit>(command(args));
    } catch (const Error& error) {
      return error.code();
    } catch (const std::invalid_argument&) {
      return Exit::usage;
    }
  };
  write_bytes(path("a.h5"), "text");
  EXPECT_EQ(code({"lst", path("a.h5")}, run_trace), Exit::usage);
  EXPECT_EQ(code({"ls"}, run_trace), Exit::usage);
  EXPECT_EQ(code({"ls", path("a.h5"), "--fromat", "csv"}, run_trace), Exit::usage);
  EXPECT_EQ(code({"ls", path("a.h5")}, run_trace), Exit::bad_data);
  EXPECT_EQ(code({"ls", path("b.h5")}, run_trace), Exit::io);
  EXPECT_EQ(code({path("a.h5")}, run_export), Exit::usage);
  EXPECT_EQ(code({path("a.h5"), "--format", "xml"}, run_export), Exit::usage);
  EXPECT_EQ(code({path("a.h5"), "--format", "csv"}, run_export), Exit::bad_data);
}

TEST_F(BadInput, VerifyFailsOnATraceThatContradictsItself) {
  const std::vector<float> values{1, 2, 3, 4};
  TraceWriter writer(path("t.h5"), {0}, {{0}, {"L/x"}, {3}}, {});
  TensorInfo info;
  info.layer = "L", info.operand = "x", info.dtype = "float32", info.rows = 1, info.cols = 4;
  writer.write_rows(writer.add(info), 0, 0, 1, values.data());
  writer.commit();
  EXPECT_TRUE(is_line_with(message_of<DataError>([&] {
                             run_trace({"verify", path("t.h5")});
                           }),
                           {"t.h5", "1 of 2", "L/x", "copy"}));
}

TEST_F(BadOutput, AFullDiskLeavesTheOldFileAndNothingElse) {
  write_bytes(path("out.h5"), "old");
  for (const rlim_t limit : {0, 1000, 5000, 100000, 700000}) {
    const FileSizeLimit full(limit);
    const std::string results =
        message_of<IoError>([&] { write_results(path("out.h5"), noise(100000), {}, true); });
    const std::string trace = message_of<IoError>([&] { write_trace(path("out.h5"), 1000); });
    EXPECT_TRUE(is_line_with(results, {"out.h5", "File too large"})) << limit;
    EXPECT_TRUE(is_line_with(trace, {"out.h5", "File too large"})) << limit;
    EXPECT_EQ(files(), std::vector<std::string>{"out.h5"}) << limit;
    EXPECT_EQ(bytes_of(path("out.h5")), "old") << limit;
  }
  write_results(path("out.h5"), noise(100000), {}, true);  // and works once there is room again
  EXPECT_EQ(read_results(path("out.h5")).tables[0].rows(), 100000u);
}

TEST_F(BadOutput, AFullDiskStopsPanelsAndTextToo) {
  const FileSizeLimit full(100000);
  const std::vector<float> values(1 << 20, 0.1f);
  EXPECT_TRUE(
      is_line_with(message_of<IoError>([&] {
                     std::mt19937 random(1);
                     std::vector<std::uint8_t> noise(1 << 20);
                     for (auto& code : noise) code = static_cast<std::uint8_t>(random());
                     ArrayFile file(path("a.h5"));
                     const int array = file.add_codes("codes", e4m3, {1 << 10, 1 << 10}, "codes");
                     for (int row = 0; row < 1024; ++row)
                       file.write_rows(array, row, 1, noise.data() + 1024 * row);
                     file.commit();
                   }),
                   {"a.h5", "File too large"}));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] {
                             OutputFile file(path("a.csv"));
                             file.write(std::string(200000, 'x'));
                             file.commit();
                           }),
                           {"a.csv", "File too large", "ulimit"}));
  EXPECT_TRUE(files().empty());
}

TEST_F(BadOutput, AFolderOrADeviceIsNotReplaced) {
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { OutputFile file(path("")); }), {"directory"}));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { OutputFile file("/dev/full"); }),
                           {"/dev/full", "not a regular file"}));
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { OutputFile file(path("no/such/a.h5")); }),
                           {"no/such/a.h5", "No such file"}));
  write_bytes(path("file"), "");
  EXPECT_TRUE(is_line_with(message_of<IoError>([&] { h5::NewFile file(path("file/a.h5")); }),
                           {"file/a.h5", "Not a directory"}));
  EXPECT_THROW(OutputFile(""), UsageError);
}

TEST_F(BadOutput, ASymbolicLinkStaysAndItsTargetIsReplaced) {
  write_bytes(path("real.csv"), "old");
  std::filesystem::create_symlink("real.csv", path("link.csv"));
  OutputFile file(path("link.csv"));
  file.write("new");
  file.commit();
  EXPECT_TRUE(std::filesystem::is_symlink(path("link.csv")));
  EXPECT_EQ(bytes_of(path("real.csv")), "new");
}

TEST_F(BadOutput, TheInputIsNotOverwritten) {
  write_results(path("r.h5"), noise(3), {}, true);
  const std::string before = bytes_of(path("r.h5"));
  std::filesystem::create_hard_link(path("r.h5"), path("same.h5"));
  EXPECT_THROW(run_export({path("r.h5"), "--format", "csv", "-o", path("same.h5")}), UsageError);
  EXPECT_TRUE(before == bytes_of(path("r.h5")));
  EXPECT_EQ(run_export({path("r.h5"), "--format", "csv", "-o", path("r.csv")}), 0);
  EXPECT_EQ(bytes_of(path("r.csv")).substr(0, 2), "x\n");
}

TEST_F(BadOutput, AFileOfAnotherKindIsNotReplaced) {
  const std::string text = "\x93NUMPY and so on";
  write_bytes(path("x.npy"), text);
  EXPECT_TRUE(is_line_with(message_of<UsageError>([&] { OutputFile file(path("x.npy"), hdf5_kind); }),
                           {"x.npy", "is a .npy file", "an HDF5 file", "another name"}));
  EXPECT_EQ(bytes_of(path("x.npy")), text);
  EXPECT_EQ(files(), std::vector<std::string>{"x.npy"});
  OutputFile(path("x.npy"), npy_kind);
  EXPECT_THROW(OutputFile(path("x.npy")), UsageError);  // text
  write_bytes(path("damaged"), "PK");
  OutputFile(path("damaged"), hdf5_kind);
}

TEST_F(BadOutput, TheCallerSeesTheNewFileOnlyAfterCommit) {
  write_bytes(path("a"), "old");
  OutputFile file(path("a"));
  file.write("new");
  EXPECT_EQ(bytes_of(path("a")), "old");
  file.commit();
  EXPECT_EQ(bytes_of(path("a")), "new");
  EXPECT_EQ(files(), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace fp8scope
