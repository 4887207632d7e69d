#include <fmt/format.h>

#include <algorithm>

#include "src/hdf5_library.hpp"

namespace fp8scope::h5 {

namespace {

// Deflate cannot do better; more is a declaration without data, which would read as fill values.
constexpr double most_inflation = 1100.0;
// The library holds a chunk whole, twice where it is compressed.
constexpr double largest_chunk = double{1 << 30};
// Of what is read whole: tables of results, histories, labels. Tensors are read by panels.
constexpr std::int64_t largest_whole = std::int64_t{1} << 30;

std::vector<hsize_t> extents(const Shape& shape) { return {shape.begin(), shape.end()}; }

Shape shape_of(hid_t dataset, const std::string& where) {
  const Id space(check_data(H5Dget_space(dataset), where, "read the shape"));
  if (H5Sget_simple_extent_type(space.get()) == H5S_NULL)
    throw DataError(where + ": the dataset is empty (null dataspace)");
  const int rank = check_data(H5Sget_simple_extent_ndims(space.get()), where, "read the shape");
  std::vector<hsize_t> dims(static_cast<std::size_t>(rank));
  check_data(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), where, "read the shape");
  Shape shape;
  for (const hsize_t extent : dims) {
    if (extent > hsize_t{1} << 62) throw DataError(where + ": the dataset has an impossible shape");
    shape.push_back(static_cast<std::int64_t>(extent));
  }
  return shape;
}

void refuse_filters(hid_t plist, const std::string& where) {
  const int count = H5Pget_nfilters(plist);
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    const auto filter = H5Pget_filter2(plist, static_cast<unsigned>(i), &flags, &values, nullptr, 0,
                                       nullptr, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
        filter != H5Z_FILTER_FLETCHER32)
      throw DataError(
          fmt::format("{}: filter {} is not accepted; rewrite the file with "
                      "'h5repack -f SHUF -f GZIP=1'",
                      where, static_cast<int>(filter)));
  }
}

/// Refuses data that would come from other files.
void refuse_foreign_data(hid_t plist, const std::string& where) {
  if (H5Pget_layout(plist) == H5D_VIRTUAL)
    throw DataError(where +
                    ": is a virtual dataset, which reads other files; copy the data with h5repack");
  if (H5Pget_external_count(plist) > 0)
    throw DataError(where + ": keeps its data in another file; copy the data with h5repack");
}

/// Refuses a dataset of which parts were never written: HDF5 would read fill values without a word.
void refuse_missing_data(hid_t dataset, const Shape& shape, const Shape& chunk, std::size_t bytes,
                         const std::string& where) {
  const double logical = static_cast<double>(element_count(shape)) * static_cast<double>(bytes);
  if (logical == 0) return;
  if (static_cast<double>(H5Dget_storage_size(dataset)) * most_inflation < logical)
    throw DataError(
        fmt::format("{}: declares {} elements but holds almost no data; the file is "
                    "incomplete",
                    where, shape_text(shape)));
  if (chunk.empty()) return;
  hsize_t stored = 0, expected = 1;
  for (std::size_t axis = 0; axis < shape.size(); ++axis)
    expected *= static_cast<hsize_t>((shape[axis] + chunk[axis] - 1) / chunk[axis]);
  const Id space(H5Dget_space(dataset));
  check_data(H5Dget_num_chunks(dataset, space.get(), &stored), where, "count the chunks");
  if (stored != expected)
    throw DataError(fmt::format("{}: {} of {} chunks are missing; the file is incomplete", where,
                                expected - std::min(stored, expected), expected));
}

template <class T>
Type native();
template <>
Type native<std::int64_t>() {
  return Type::i64;
}
template <>
Type native<std::uint64_t>() {
  return Type::u64;
}
template <>
Type native<float>() {
  return Type::f32;
}
template <>
Type native<double>() {
  return Type::f64;
}
template <>
Type native<std::string>() {
  return Type::text;
}

/// Whether every value of `from` is one of `to`.
bool fits(Type from, Type to) {
  const auto any = [&](std::initializer_list<Type> list) {
    return std::ranges::find(list, from) != list.end();
  };
  if (from == to) return true;
  if (to == Type::i64) return any({Type::u8, Type::u16, Type::u32, Type::i8, Type::i16, Type::i32});
  if (to == Type::u64) return any({Type::u8, Type::u16, Type::u32});
  if (to == Type::f64)
    return any({Type::f32, Type::u8, Type::u16, Type::u32, Type::i8, Type::i16, Type::i32});
  return to == Type::f32 && any({Type::u8, Type::u16, Type::i8, Type::i16});
}

/// A selection of a block in the file, and the block in memory.
struct Selection {
  Id file, memory;
  Selection(hid_t dataset, const Shape& start, const Shape& count, const std::string& where)
      : file(check_data(H5Dget_space(dataset), where, "select")) {
    const auto first = extents(start), extent = extents(count);
    if (!extent.empty())
      check_data(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, first.data(), nullptr,
                                     extent.data(), nullptr),
                 where, "select");
    memory = Id(extent.empty()
                    ? H5Screate(H5S_SCALAR)
                    : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr));
  }
};

/// Calls `visit(start, count, row)` for the boxes of which rows [first, first + rows) are made.
template <class Visit>
void for_each_box(const Shape& shape, std::int64_t first, std::int64_t rows, Visit visit) {
  if (shape.size() < 2) return visit(Shape(shape.size(), 0), shape, first);
  const std::size_t row_axis = shape.size() - 2;
  for (std::int64_t row = first; row < first + rows;) {
    Shape start(shape.size(), 0), count(shape.size(), 1);
    std::int64_t index = row;
    for (std::size_t axis = row_axis + 1; axis-- > 0; index /= shape[axis])
      start[axis] = index % shape[axis];
    count[row_axis] = std::min(shape[row_axis] - start[row_axis], first + rows - row);
    count.back() = shape.back();
    visit(start, count, row);
    row += count[row_axis];
  }
}

}  // namespace

Shape row_chunk(const Shape& shape, std::size_t bytes_per_element) {
  constexpr std::int64_t most = 1 << 20;
  if (shape.empty() || element_count(shape) == 0) return {};
  Shape chunk(shape.size(), 1);
  const auto bytes = static_cast<std::int64_t>(bytes_per_element);
  chunk.back() = std::min(shape.back(), most / bytes);
  if (shape.size() < 2) return chunk;
  const std::int64_t rows = shape[shape.size() - 2];
  std::int64_t fit = std::max<std::int64_t>(1, most / (chunk.back() * bytes));
  if (fit >= 128) fit -= fit % 128;
  chunk[shape.size() - 2] = std::min(rows, fit);
  return chunk;
}

Dataset::Dataset(Id id, std::string file, std::string path)
    : Object(std::move(id), std::move(file), std::move(path)) {
  const Id type(check_data(H5Dget_type(this->id()), where(), "read the element type"));
  const Id plist(check_data(H5Dget_create_plist(this->id()), where(), "read the layout"));
  type_ = classify(type.get());
  shape_ = shape_of(this->id(), where());
  refuse_foreign_data(plist.get(), where());
  if (H5Pget_layout(plist.get()) == H5D_CHUNKED) {
    std::vector<hsize_t> dims(shape_.size());
    check_data(H5Pget_chunk(plist.get(), static_cast<int>(dims.size()), dims.data()), where(),
               "read the layout");
    chunk_.assign(dims.begin(), dims.end());
    double bytes = static_cast<double>(H5Tget_size(type.get()));
    for (const hsize_t extent : dims) bytes *= static_cast<double>(extent);
    if (bytes > largest_chunk)
      throw DataError(fmt::format("{}: has chunks of {:.0f} bytes, at most 1 GiB is accepted; rewrite "
                                  "the file with h5repack -l and smaller ones",
                                  where(), bytes));
  }
  refuse_filters(plist.get(), where());
}

void Dataset::require_data() const {
  const Id type(check_data(H5Dget_type(id()), where(), "read the element type"));
  refuse_missing_data(id(), shape_, chunk_, H5Tget_size(type.get()), where());
}

void Dataset::read(const Shape& start, const Shape& count, void* out) const {
  if (type_bytes(type_) == 0) throw DataError(fmt::format("{}: holds no numbers", where()));
  if (element_count(count) == 0) return;
  const Selection selection(id(), start, count, where());
  check_data(H5Dread(id(), element_type(type_).get(), selection.memory.get(), selection.file.get(),
                     H5P_DEFAULT, out),
             where(), "read the data");
}

void Dataset::write(const Shape& start, const Shape& count, const void* values) {
  if (element_count(count) == 0) return;
  const Selection selection(id(), start, count, where());
  check_io(H5Dwrite(id(), element_type(type_).get(), selection.memory.get(), selection.file.get(),
                    H5P_DEFAULT, values),
           where(), "write the data");
}

void Dataset::read_rows(std::int64_t first, std::int64_t count, void* out) const {
  const std::size_t row_bytes =
      type_bytes(type_) * static_cast<std::size_t>(shape_.empty() ? 1 : shape_.back());
  for_each_box(shape_, first, count, [&](const Shape& start, const Shape& box, std::int64_t row) {
    read(start, box,
         static_cast<std::byte*>(out) + static_cast<std::size_t>(row - first) * row_bytes);
  });
}

void Dataset::write_rows(std::int64_t first, std::int64_t count, const void* values) {
  const std::size_t row_bytes =
      type_bytes(type_) * static_cast<std::size_t>(shape_.empty() ? 1 : shape_.back());
  for_each_box(shape_, first, count, [&](const Shape& start, const Shape& box, std::int64_t row) {
    write(
        start, box,
        static_cast<const std::byte*>(values) + static_cast<std::size_t>(row - first) * row_bytes);
  });
}

template <class T>
std::vector<T> Dataset::values() const {
  if (!fits(type_, native<T>()))
    throw DataError(fmt::format("{}: holds {}, expected {}", where(), type_name(type_),
                                type_name(native<T>())));
  if (element_count(shape_) > largest_whole / static_cast<std::int64_t>(sizeof(T)))
    throw DataError(fmt::format("{}: has shape {}, more than 1 GiB for what is no tensor; the file is "
                                "damaged, copy it again",
                                where(), shape_text(shape_)));
  if constexpr (std::is_same_v<T, std::string>) {
    const Id type(H5Dget_type(id())), space(H5Dget_space(id()));
    return read_text(type.get(), space.get(), [&](hid_t memory, void* out) {
      check_data(H5Dread(id(), memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, out), where(),
                 "read the data");
    });
  } else {
    std::vector<T> result(static_cast<std::size_t>(element_count(shape_)));
    if (!result.empty())
      check_data(H5Dread(id(), element_type(native<T>()).get(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                         result.data()),
                 where(), "read the data");
    return result;
  }
}

template <class T>
void Dataset::write_all(std::span<const T> values) {
  if (static_cast<std::int64_t>(values.size()) != element_count(shape_) || native<T>() != type_)
    throw std::invalid_argument(
        fmt::format("{}: {} values of another type or shape", where(), values.size()));
  if (values.empty()) return;
  if constexpr (std::is_same_v<T, std::string>) {
    std::vector<const char*> pointers;
    for (const std::string& text : values) pointers.push_back(text.c_str());
    check_io(H5Dwrite(id(), text_type().get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, pointers.data()),
             where(), "write the data");
  } else {
    write(Shape(shape_.size(), 0), shape_, values.data());
  }
}

template std::vector<std::int64_t> Dataset::values() const;
template std::vector<std::uint64_t> Dataset::values() const;
template std::vector<float> Dataset::values() const;
template std::vector<double> Dataset::values() const;
template std::vector<std::string> Dataset::values() const;
template void Dataset::write_all(std::span<const std::int64_t>);
template void Dataset::write_all(std::span<const std::uint64_t>);
template void Dataset::write_all(std::span<const float>);
template void Dataset::write_all(std::span<const double>);
template void Dataset::write_all(std::span<const std::string>);

void Dataset::make_scale(const std::string& name) {
  check_io(H5DSset_scale(id(), name.c_str()), where(), "make it a dimension scale");
}

bool Dataset::is_scale() const { return H5DSis_scale(id()) > 0; }

std::string Dataset::scale_name(int axis) const {
  const auto take_path = [](hid_t, unsigned, hid_t scale, void* out) -> herr_t {
    char path[1024] = {};
    if (H5Iget_name(scale, path, sizeof path) > 0) *static_cast<std::string*>(out) = path;
    return 1;
  };
  std::string path;
  if (H5DSiterate_scales(id(), static_cast<unsigned>(axis), nullptr, take_path, &path) <= 0 ||
      path.empty())
    throw DataError(fmt::format("{}: axis {} has no dimension scale", where(), axis));
  return path.substr(path.rfind('/') + 1);
}

void Dataset::attach_scales(const std::vector<const Dataset*>& scales) {
  if (scales.size() != shape_.size())
    throw std::invalid_argument(where() + ": one dimension scale is needed for every axis");
  for (std::size_t axis = 0; axis < scales.size(); ++axis)
    check_io(H5DSattach_scale(id(), scales[axis]->id(), static_cast<unsigned>(axis)), where(),
             "attach a dimension scale");
}

}  // namespace fp8scope::h5
