#include "src/golden.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "src/errors.hpp"
#include "src/parallel.hpp"
#include "src/probe_data.hpp"
#include "src/sha256.hpp"
#include "src/version.hpp"

namespace fp8scope {
namespace {

/// Bytes of a stored word.
std::size_t word_bytes(const std::string& format) {
  if (format == "f32" || format == "fp32" || format == "tf32") return 4;
  if (format == "f16" || format == "fp16" || format == "bf16") return 2;
  return 1;
}

std::string short_name(const std::string& format) { return format == "fp16" ? "f16" : format; }

template <class T>
std::string write_as(h5::Group& group, const std::string& name, h5::Type type, const h5::Shape& shape,
                     const std::vector<std::uint32_t>& words) {
  const std::vector<T> narrow(words.begin(), words.end());
  h5::Shape chunk = shape;
  chunk[0] = std::min<std::int64_t>(shape[0], std::max<std::int64_t>(1, (1 << 18) / std::max<std::int64_t>(1, h5::element_count(shape) / shape[0])));
  h5::Dataset data = group.create_dataset(name, type, shape, {chunk, 6});
  data.write(h5::Shape(shape.size(), 0), shape, narrow.data());
  Sha256 hash;
  hash.add(narrow.data(), narrow.size() * sizeof(T));
  return hash.hex();
}

/// Writes words in as few bytes as their format has, and their hash as an attribute.
void write_words(h5::Group& group, const std::string& name, const std::string& format, const h5::Shape& shape,
                 const std::vector<std::uint32_t>& words) {
  const std::size_t bytes = word_bytes(format);
  const std::string hash = bytes == 1 ? write_as<std::uint8_t>(group, name, h5::Type::u8, shape, words)
                           : bytes == 2 ? write_as<std::uint16_t>(group, name, h5::Type::u16, shape, words)
                                        : write_as<std::uint32_t>(group, name, h5::Type::u32, shape, words);
  group.set("sha256_" + name, hash);
}

void describe_group(h5::Group& group, const MatrixUnit& unit, const GoldenSet& set) {
  const auto number = [&](const char* name, std::size_t value) { group.set(name, static_cast<std::int64_t>(value)); };
  group.set("instruction", unit.instruction), group.set("sass", unit.sass), group.set("operand_source", unit.operands);
  number("m", unit.m), number("n", unit.n), number("k", unit.k), number("chain", set.chain);
  group.set("a_type", unit.a_format), group.set("b_type", unit.b_format), group.set("acc_type", unit.output);
  group.set("a_fmt", short_name(unit.a_format)), group.set("b_fmt", short_name(unit.b_format));
  group.set("c_fmt", unit.output), group.set("d_fmt", unit.output);
  group.set("scale_d", std::int64_t{1});
  group.set("input_class", set.input_class);
  group.set("generator", std::string(golden_generator)), group.set("generator_version", golden_generator_version);
  number("seed", set.seed), number("tiles", set.stored), number("digest_tiles", set.digests);
}

std::vector<std::uint32_t> run_tiles(MatrixUnit& unit, const UnitTiles& tiles) {
  std::vector<std::uint32_t> d(tiles.c.size());
  unit.run(tiles, d);
  return d;
}

std::size_t unequal(const std::vector<std::uint32_t>& a, const std::vector<std::uint32_t>& b) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] != b[i];
  return n;
}

std::int64_t required_integer(const h5::Group& group, const char* name) {
  const auto value = group.integer(name);
  if (!value || *value < 0) throw DataError(fmt::format("{}: the attribute {} is missing", group.where(), name));
  return *value;
}

/// The unit that a group's attributes describe, as far as its generator needs it.
EmulatedUnit unit_of(const h5::Group& group, const std::string& model) {
  EmulatedUnit unit(model, group.required_text("a_type"), group.required_text("b_type"), group.required_text("acc_type"));
  unit.m = static_cast<std::size_t>(required_integer(group, "m"));
  unit.n = static_cast<std::size_t>(required_integer(group, "n"));
  unit.k = static_cast<std::size_t>(required_integer(group, "k"));
  if (unit.m * unit.n == 0 || unit.m * unit.n > 1 << 16 || unit.k == 0 || unit.k > 1 << 12)
    throw DataError(fmt::format("{}: an instruction of {} x {} x {} cannot be", group.where(), unit.m, unit.n, unit.k));
  return unit;
}

}  // namespace

UnitTiles golden_tiles(const MatrixUnit& unit, const GoldenSet& set, std::size_t first, std::size_t count) {
  UnitTiles t;
  t.tiles = count, t.m = unit.m, t.n = unit.n, t.k = unit.k * set.chain;
  for (std::size_t tile = first; tile < first + count; ++tile) {
    InputSource source(unit, set.input_class, (set.seed << 40) + tile);
    for (std::size_t i = 0; i < t.m * t.k; ++i) t.a.push_back(source.a());
    for (std::size_t i = 0; i < t.n * t.k; ++i) t.b.push_back(source.b());
    for (std::size_t i = 0; i < t.m * t.n; ++i) t.c.push_back(source.c());
    if (unit.scale_block == 0) continue;
    const std::size_t blocks = t.k / static_cast<std::size_t>(unit.scale_block);
    for (std::size_t i = 0; i < t.m * blocks; ++i) t.scale_a.push_back(source.scale());
    for (std::size_t i = 0; i < t.n * blocks; ++i) t.scale_b.push_back(source.scale());
  }
  return t;
}

std::uint64_t digest_of(std::span<const std::uint32_t> words) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint32_t word : words)
    for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (word >> shift & 0xffu)) * 0x100000001b3u;
  return hash;
}

void describe_golden_file(h5::Group& root, const GoldenOrigin& origin) {
  root.set("format", std::string("fp8-golden")), root.set("format_version", std::int64_t{1});
  root.set("source", origin.source), root.set("gpu_name", origin.gpu_name);
  root.set("compute_capability", origin.compute_capability), root.set("driver", origin.driver);
  root.set("cuda_runtime", origin.cuda_runtime), root.set("toolkit", origin.toolkit), root.set("date", origin.date);
  root.set("tool_version", std::string(version)), root.set("tool_commit", std::string(git_commit));
  root.set("tool_sha256", sha256_of_file("/proc/self/exe"));
}

GoldenRecord record_golden(h5::Group& root, MatrixUnit& unit, const std::string& model, const GoldenSet& set) {
  // The group's name begins with the model's, so that validate holds it against that one.
  const std::string plain = model.substr(0, model.find(':'));
  h5::Group group = root.create_group(fmt::format("{}_{}_{}_{}_{}_{}_x{}", plain, unit.name == model ? "unit" : unit.name, unit.a_format,
                                                  unit.b_format, unit.output, set.input_class, set.chain));
  describe_group(group, unit, set);
  if (model != plain) group.set("model", model);
  GoldenRecord record;
  if (set.stored > 0) {
    const UnitTiles t = golden_tiles(unit, set, 0, set.stored);
    const auto d = run_tiles(unit, t);
    record.unequal += unequal(d, run_tiles(unit, t)), record.stored = d.size();
    const auto extent = [](std::size_t n) { return static_cast<std::int64_t>(n); };
    const std::int64_t tiles = extent(t.tiles), m = extent(t.m), n = extent(t.n), k = extent(t.k);
    write_words(group, "a", unit.a_format, {tiles, m, k}, t.a), write_words(group, "b", unit.b_format, {tiles, n, k}, t.b);
    write_words(group, "c", unit.output, {tiles, m, n}, t.c), write_words(group, "d", unit.output, {tiles, m, n}, d);
    if (unit.scale_block > 0) {
      const std::int64_t blocks = k / unit.scale_block;
      write_words(group, "scale_a", "e8m0", {tiles, m, blocks}, t.scale_a), write_words(group, "scale_b", "e8m0", {tiles, n, blocks}, t.scale_b);
    }
  }
  std::vector<std::uint64_t> digests;
  Sha256 all;
  // The tiles of the digests follow the stored ones.
  for (std::size_t first = set.stored; first < set.stored + set.digests; first += digest_tiles) {
    const UnitTiles t = golden_tiles(unit, set, first, std::min(digest_tiles, set.stored + set.digests - first));
    const auto d = run_tiles(unit, t);
    record.unequal += unequal(d, run_tiles(unit, t)), record.digested += d.size();
    digests.push_back(digest_of(d));
    all.add(d.data(), d.size() * sizeof(d[0]));
  }
  if (!digests.empty()) {
    const h5::Shape shape{static_cast<std::int64_t>(digests.size())};
    group.create_dataset("digest", h5::Type::u64, shape).write({0}, shape, digests.data());
    group.set("digest_function", std::string("FNV-1a of 64 bits over the little-endian words of 64 tiles"));
    group.set("digest_sha256", all.hex());
  }
  group.set("repeats_identical", static_cast<std::int64_t>(record.unequal == 0));
  return record;
}

bool has_digests(const h5::Group& group) { return group.has("digest"); }

DigestVerdict check_digests(const h5::Group& group, const std::string& model) {
  if (group.required_text("generator") != golden_generator || required_integer(group, "generator_version") != golden_generator_version)
    throw DataError(fmt::format("{}: its inputs come from another generator than this version's", group.where()));
  EmulatedUnit unit = unit_of(group, model);
  GoldenSet set{group.required_text("input_class"), static_cast<std::size_t>(required_integer(group, "chain")),
                static_cast<std::size_t>(required_integer(group, "tiles")), static_cast<std::size_t>(required_integer(group, "digest_tiles")),
                static_cast<std::uint64_t>(required_integer(group, "seed"))};
  const auto want = group.dataset("digest").values<std::uint64_t>();
  if (set.chain == 0 || set.chain > 64 || want.size() != (set.digests + digest_tiles - 1) / digest_tiles)
    throw DataError(fmt::format("{}: {} digests do not belong to {} tiles", group.where(), want.size(), set.digests));
  std::vector<std::uint8_t> bad(want.size());
  run_in_parallel(want.size(), [&](std::size_t i) {
    const std::size_t first = set.stored + i * digest_tiles;
    const UnitTiles t = golden_tiles(unit, set, first, std::min(digest_tiles, set.stored + set.digests - first));
    std::vector<std::uint32_t> d(t.c.size());
    unit.run(t, d);
    bad[i] = digest_of(d) != want[i];
  });
  DigestVerdict verdict;
  verdict.blocks = want.size(), verdict.words = set.digests * unit.m * unit.n;
  verdict.differ = static_cast<std::size_t>(std::ranges::count(bad, 1));
  verdict.first_tile = set.stored + static_cast<std::size_t>(std::ranges::find(bad, 1) - bad.begin()) * digest_tiles;
  return verdict;
}

}  // namespace fp8scope
