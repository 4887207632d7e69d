#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "src/output_file.hpp"

/// HDF5 files. Only hdf5*.cpp include the library, and no type of it leaves them.
///
/// Reading trusts no file: links to other files, external storage, virtual datasets, filters other
/// than deflate, shuffle and fletcher32, and datasets with missing chunks are refused, because HDF5
/// would read other files or fill values without a word. Every failure is one line that names the
/// file and the object: DataError where the content is wrong, IoError where the system refused.
namespace fp8scope::h5 {

/// What the elements of a dataset are. The 16-bit floats are uint16_t bits in memory, because
/// HDF5's own conversion rounds ties the wrong way.
enum class Type { bf16, fp16, f32, f64, u8, u16, u32, u64, i8, i16, i32, i64, text, other };

/// "bfloat16", "float16", "float32", "uint8", ...
std::string_view type_name(Type type);
/// Bytes of an element in memory; 0 for text and other.
std::size_t type_bytes(Type type);

using Shape = std::vector<std::int64_t>;

/// Product of the extents; 1 for a scalar.
std::int64_t element_count(const Shape& shape);

/// "[16, 128, 576]".
std::string shape_text(const Shape& shape);

using Value = std::variant<std::string, std::int64_t, double, std::vector<std::string>>;

struct Attribute {
  std::string name;
  Value value;
};

/// Owner of one HDF5 identifier.
class Id {
 public:
  Id() = default;
  explicit Id(std::int64_t id) : id_(id) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Id& operator=(Id&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  ~Id();
  std::int64_t get() const { return id_; }
  std::int64_t release() { return std::exchange(id_, -1); }

 private:
  std::int64_t id_ = -1;
};

/// A group or a dataset: what both can do.
class Object {
 public:
  /// "'FILE': /path/in/file", the beginning of every message about it.
  std::string where() const;
  const std::string& path() const { return path_; }
  std::int64_t id() const { return id_.get(); }

  bool has_attribute(const std::string& name) const;
  /// The attributes that are numbers, text or lists of text, in the order written, without those
  /// of dimension scales.
  std::vector<Attribute> attributes() const;
  std::optional<std::string> text(const std::string& name) const;
  std::optional<std::int64_t> integer(const std::string& name) const;
  /// Throws DataError if the attribute is missing or no text.
  std::string required_text(const std::string& name) const;
  void set(const std::string& name, const Value& value);

 protected:
  Object(Id id, std::string file, std::string path)
      : id_(std::move(id)), file_(std::move(file)), path_(std::move(path)) {}
  Id id_;
  std::string file_, path_;
};

class Dataset : public Object {
 public:
  Dataset(Id id, std::string file, std::string path);

  Type type() const { return type_; }
  const Shape& shape() const { return shape_; }
  /// Extents of a chunk; empty if the dataset is not chunked.
  const Shape& chunk() const { return chunk_; }

  /// Reads the block [start, start + count) into `out`, whose element type must be type() in
  /// memory.
  ///
  /// out  [product of count]
  void read(const Shape& start, const Shape& count, void* out) const;
  void write(const Shape& start, const Shape& count, const void* values);

  /// Rows [first, first + count), where the last axis is a row's and all others count rows.
  ///
  /// out, values  [count, last extent]
  void read_rows(std::int64_t first, std::int64_t count, void* out) const;
  void write_rows(std::int64_t first, std::int64_t count, const void* values);

  /// All of it, converted exactly to T (int64_t, uint64_t, float, double, std::string).
  /// Throws DataError if the stored type does not fit into T.
  template <class T>
  std::vector<T> values() const;
  template <class T>
  void write_all(std::span<const T> values);
  /// The values from index `first` of the first axis on; whole slices of the other axes.
  template <class T>
  void write_from(std::int64_t first, std::span<const T> values);

  /// Throws DataError if parts of it were never written, which would read as fill values.
  void require_data() const;

  /// Makes this dataset the scale of an axis called `name`.
  void make_scale(const std::string& name);
  bool is_scale() const;
  /// Name of the dataset that is the scale of an axis. Throws DataError if none is attached.
  std::string scale_name(int axis) const;
  /// Attaches one scale to every axis, in order. All axes or none: with only some of them attached
  /// netCDF readers refuse the whole file.
  void attach_scales(const std::vector<const Dataset*>& scales);

 private:
  Type type_ = Type::other;
  Shape shape_, chunk_;
};

/// How a dataset is stored.
struct Storage {
  Shape chunk;      ///< empty: contiguous, without any filter; else with fletcher32
  int deflate = 0;  ///< level; 0: neither shuffle nor deflate
};

/// Whole rows up to 1 MiB, which is HDF5's chunk cache: larger chunks are inflated at every access.
Shape row_chunk(const Shape& shape, std::size_t bytes_per_element);

struct Entry {
  std::string name;
  bool is_group;
};

class Group : public Object {
 public:
  Group(Id id, std::string file, std::string path);

  /// Whether `path` leads to an object by hard links only.
  bool has(const std::string& path) const;
  Group group(const std::string& path) const;
  Dataset dataset(const std::string& path) const;
  /// In the order created where the file keeps it, else by name. At a link that is not a hard one,
  /// throws DataError or goes on, as `links` says.
  enum class Links { refuse, skip };
  std::vector<Entry> entries(Links links = Links::refuse) const;

  /// Missing groups on the way are created.
  Group create_group(const std::string& path);
  Dataset create_dataset(const std::string& name, Type type, const Shape& shape,
                         const Storage& storage = {});

 private:
  Id open(const std::string& path) const;
};

/// "1.10.8": of the library that is linked.
std::string library_version();

/// Opens a file for reading and returns its root.
///
/// Unless `guarded` is false, a child process walks the file first, so that a damaged file that
/// crashes or hangs the HDF5 library becomes a DataError.
Group open_file(const std::string& path, bool guarded = true);

/// A file being written: it appears under its name when commit() returns, or not at all.
/// The bytes depend only on what is written: no times, attributes and links in the order created.
class NewFile {
 public:
  explicit NewFile(const std::string& path);
  ~NewFile();
  Group& root() { return root_; }
  /// Throws IoError. Datasets and groups of the file are unusable afterwards.
  /// Without it the descriptor of the removed temporary file stays open until the program ends.
  void commit();

 private:
  OutputFile output_;
  Id file_;
  Group root_;
};

}  // namespace fp8scope::h5
