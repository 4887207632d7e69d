#include "src/import/trace_export.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "sim/names.hpp"
#include "src/errors.hpp"
#include "src/import/safetensors.hpp"
#include "src/npy.hpp"
#include "src/output_file.hpp"

namespace fp8scope {

namespace {

constexpr std::int64_t panel_bytes = std::int64_t{8} << 20;

/// A tensor at a recorded step.
struct Item {
  std::size_t tensor, step;
};

std::vector<Item> selected(const Trace& trace, const TraceSelection& selection) {
  std::vector<Item> items;
  for (std::size_t t = 0; t < trace.tensors().size(); ++t) {
    const TensorInfo& info = trace.tensors()[t];
    if (!selection.layer(info.layer) || !selection.operand(info.operand)) continue;
    for (std::size_t s = 0; s < (info.constant ? 1 : trace.steps().size()); ++s)
      if (info.constant || selection.step(trace.steps()[s])) items.push_back({t, s});
  }
  if (items.empty())
    throw UsageError(fmt::format("'{}': no tensor and step is selected; 'fp8scope trace ls' lists them",
                                 trace.path()));
  return items;
}

/// Calls visit(first row, count) for the panels of a tensor.
template <class Visit>
void for_each_panel(const TensorInfo& info, Visit visit) {
  const std::int64_t panel =
      std::clamp<std::int64_t>(panel_bytes / std::max<std::int64_t>(1, 4 * info.cols), 1,
                               std::max<std::int64_t>(1, info.rows));
  for (std::int64_t row = 0; row < info.rows; row += panel) visit(row, std::min(panel, info.rows - row));
}

struct DtypeName {
  std::string_view name, safetensors;
};

constexpr DtypeName dtype_names[] = {
    {"float32", "F32"},
    {"float64", "F64"},
    {"bfloat16", "BF16"},
    {"float16", "F16"},
    {"e4m3", "F8_E4M3"},
    {"e5m2", "F8_E5M2"},
    {"e8m0", "F8_E8M0"},
    {"e4m3fnuz", "F8_E4M3FNUZ"},
    {"e5m2fnuz", "F8_E5M2FNUZ"},
};

std::string safetensors_dtype(const Trace& trace, std::size_t tensor) {
  if (const DtypeName* row = find_by_name(dtype_names, trace.tensors()[tensor].dtype))
    return std::string(row->safetensors);
  return trace.decoder(tensor).bytes() == 1 ? "U8" : "U16";
}

std::string item_name(const Trace& trace, const Item& item) {
  const TensorInfo& info = trace.tensors()[item.tensor];
  return info.constant ? info.name()
                       : fmt::format("{}/step{}", info.name(), trace.steps()[item.step]);
}

/// The text attributes of the trace, and what the codes of tensors stored as U8 are.
std::map<std::string, std::string> metadata_of(const Trace& trace) {
  std::map<std::string, std::string> metadata;
  for (const h5::Attribute& a : trace.attributes())
    if (const auto* text = std::get_if<std::string>(&a.value)) metadata.emplace(a.name, *text);
  for (std::size_t t = 0; t < trace.tensors().size(); ++t)
    if (safetensors_dtype(trace, t).starts_with('U'))
      metadata.emplace("encoding." + trace.tensors()[t].name(), trace.tensors()[t].dtype);
  return metadata;
}

void write_safetensors(const Trace& trace, const std::string& output, std::vector<Item> items) {
  // Wide elements first, so that every tensor begins at a multiple of its element.
  std::ranges::stable_sort(items, std::greater{}, [&](const Item& item) {
    return trace.decoder(item.tensor).bytes();
  });
  SafetensorsHeader header;
  header.metadata = metadata_of(trace);
  std::uint64_t at = 0;
  for (const Item& item : items) {
    const TensorInfo& info = trace.tensors()[item.tensor];
    const auto bytes = static_cast<std::uint64_t>(info.rows * info.cols) * trace.decoder(item.tensor).bytes();
    header.tensors.push_back({item_name(trace, item), safetensors_dtype(trace, item.tensor),
                              {info.rows, info.cols}, at, at + bytes});
    at += bytes;
  }
  OutputFile file(output);
  file.write(safetensors_header(header));
  std::string stored;
  for (const Item& item : items) {
    const TensorInfo& info = trace.tensors()[item.tensor];
    for_each_panel(info, [&](std::int64_t row, std::int64_t count) {
      stored.resize(static_cast<std::size_t>(count * info.cols) * trace.decoder(item.tensor).bytes());
      trace.read_stored(item.tensor, item.step, row, count, stored.data());
      file.write(stored);
    });
  }
  file.commit();
}

void write_one_npy(const Trace& trace, const std::string& output, const std::vector<Item>& items) {
  for (const Item& item : items)
    if (item.tensor != items[0].tensor)
      throw UsageError(fmt::format("a .npy file holds one tensor; {} and {} are selected, choose with "
                                   "--layers and --operands, or write .safetensors",
                                   trace.tensors()[items[0].tensor].name(),
                                   trace.tensors()[item.tensor].name()));
  const TensorInfo& info = trace.tensors()[items[0].tensor];
  OutputFile file(output, npy_kind);
  file.write(npy_header(NpyType::f4, {std::ssize(items), info.rows, info.cols}));
  std::vector<float> values;
  for (const Item& item : items)
    for_each_panel(info, [&](std::int64_t row, std::int64_t count) {
      values.resize(static_cast<std::size_t>(count * info.cols));
      trace.read_rows(item.tensor, item.step, row, count, values.data());
      file.write({reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)});
    });
  file.commit();
}

/// A field of a CSV file, in quotes where it needs them.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

void write_csv(const Trace& trace, const std::string& output, const std::vector<Item>& items) {
  OutputFile file(output);
  file.write("tensor,step,row,col,value\n");
  std::vector<float> values;
  fmt::memory_buffer text;
  for (const Item& item : items) {
    const TensorInfo& info = trace.tensors()[item.tensor];
    const std::string start = fmt::format("{},{},", csv_field(info.name()), trace.steps()[item.step]);
    for_each_panel(info, [&](std::int64_t first, std::int64_t count) {
      values.resize(static_cast<std::size_t>(count * info.cols));
      trace.read_rows(item.tensor, item.step, first, count, values.data());
      const float* value = values.data();
      for (std::int64_t row = first; row < first + count; ++row) {
        text.clear();
        for (std::int64_t col = 0; col < info.cols; ++col)
          fmt::format_to(std::back_inserter(text), FMT_COMPILE("{}{},{},{}\n"), start, row, col, *value++);
        file.write({text.data(), text.size()});
      }
    });
  }
  file.commit();
}

}  // namespace

void export_trace(const Trace& trace, const std::string& output, const TraceSelection& selection) {
  require_other_file(output, trace.path());
  const std::vector<Item> items = selected(trace, selection);
  if (output.ends_with(".safetensors")) return write_safetensors(trace, output, items);
  if (output.ends_with(".npy")) return write_one_npy(trace, output, items);
  if (output.ends_with(".csv")) return write_csv(trace, output, items);
  throw UsageError(fmt::format("'{}': its ending must be .safetensors, .npy or .csv", output));
}

}  // namespace fp8scope
