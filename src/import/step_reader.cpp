#include "src/import/step_reader.hpp"

#include <fmt/format.h>

#include <cmath>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

ElementDecoder decoder_of(const SourceTensor& tensor) {
  return {tensor.element.type, tensor.element.encoding, tensor.where()};
}

std::int64_t blocks(std::int64_t extent, std::int64_t block) { return (extent + block - 1) / block; }

/// Elements along an axis that share a scale, of `scales` scales; nothing if none fits.
std::optional<std::int64_t> block_of(std::int64_t extent, std::int64_t scales) {
  if (scales == 1) return extent;
  if (scales == extent) return 1;
  for (const std::int64_t block : {128, 32, 64, 16, 256})
    if (blocks(extent, block) == scales) return block;
  if (scales > 0 && extent % scales == 0) return extent / scales;
  return {};
}

std::vector<float> all_values(const SourceTensor& tensor) {
  const ElementDecoder decoder = decoder_of(tensor);
  const auto count = static_cast<std::int64_t>(tensor.data->size() / decoder.bytes());
  const std::string stored = tensor.data->text(0, static_cast<std::size_t>(tensor.data->size()));
  std::vector<float> values(static_cast<std::size_t>(count));
  decoder.decode(stored.data(), count, values.data());
  return values;
}

}  // namespace

StepReader::StepReader(const TensorInfo& info, const StepSource& source)
    : info_(info), source_(source), decoder_(decoder_of(*source.tensor)),
      converted_(info.dtype == "float32" && source.tensor->element.type != h5::Type::f32) {
  if (source_.scales) load_scales();
}

void StepReader::load_scales() {
  const SourceTensor& scales = *source_.scales;
  std::vector<std::int64_t> shape = scales.shape;
  // A scale for each row may be written without an axis of columns, one for all without any.
  if (shape.size() == 1 && shape[0] == info_.rows && info_.rows > 1) shape.push_back(1);
  while (shape.size() < 2) shape.insert(shape.begin(), 1);
  std::int64_t rows = 1;
  for (std::size_t axis = 0; axis + 1 < shape.size(); ++axis) rows *= shape[axis];
  const auto block_rows = block_of(info_.rows, rows), block_cols = block_of(info_.cols, shape.back());
  const std::int64_t size = rows * shape.back();
  if (!block_rows || !block_cols || size > info_.rows * info_.cols || size == 0)
    throw DataError(fmt::format("{}: has shape {}, which does not fit the {} rows of {} codes of {}; "
                                "leave scales aside with --scales ignore",
                                scales.where(), h5::shape_text(scales.shape), info_.rows, info_.cols,
                                source_.tensor->where()));
  block_rows_ = *block_rows, block_cols_ = *block_cols, scale_cols_ = shape.back();
  scales_ = all_values(scales);
}

/// values_[r, c] *= scale of its block.
void StepReader::multiply(std::int64_t first, std::int64_t count) {
  float* value = values_.data();
  for (std::int64_t row = first; row < first + count; ++row) {
    const float* scale = scales_.data() + row / block_rows_ * scale_cols_;
    for (std::int64_t col = 0; col < info_.cols; ++col) *value++ *= scale[col / block_cols_];
  }
}

const void* StepReader::read(std::int64_t first, std::int64_t count) {
  const auto size = static_cast<std::size_t>(count * info_.cols);
  stored_.resize(size * decoder_.bytes());
  const auto begin = static_cast<std::uint64_t>(source_.first + first * info_.cols);
  source_.tensor->data->read(begin * decoder_.bytes(), stored_.size(), stored_.data());
  values_.resize(size);
  decoder_.decode(stored_.data(), static_cast<std::int64_t>(size), values_.data());
  if (source_.scales) multiply(first, count);
  for (const float value : values_)
    if (const float magnitude = std::fabs(value); std::isfinite(magnitude) && magnitude > amax_)
      amax_ = magnitude;
  return converted_ ? static_cast<const void*>(values_.data()) : stored_.data();
}

}  // namespace fp8scope
