#include "src/import/zip.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "src/errors.hpp"

namespace fp8scope {

namespace {

constexpr std::uint32_t end_mark = 0x06054b50, end64_mark = 0x06064b50, locator_mark = 0x07064b50,
                        central_mark = 0x02014b50, local_mark = 0x04034b50;
constexpr std::uint64_t end_bytes = 22, end64_bytes = 56, locator_bytes = 20, central_bytes = 46,
                        local_bytes = 30;
constexpr std::uint64_t largest_directory = std::uint64_t{64} << 20;
constexpr std::size_t longest_name = 1024;
constexpr std::uint32_t in_zip64 = 0xffffffff;
constexpr std::uint16_t descriptor_flag = 8;
/// Compression level, descriptor, UTF-8 names. The others mean encryption or patches.
constexpr std::uint16_t known_flags = 2 | 4 | descriptor_flag | 0x800;
/// Deflate gives at most 258 bytes for two bits.
constexpr std::uint64_t most_inflation = 1032;

[[noreturn]] void damaged(const ByteSource& archive, const std::string& what) {
  throw DataError(fmt::format("{}: {}; the archive is damaged, write it again", archive.where(), what));
}

/// Where the directory lies and how many members it has.
struct End {
  std::uint64_t members, offset, bytes;
};

/// Position of the record that ends the archive.
std::uint64_t find_end(const ByteSource& archive) {
  if (archive.size() < end_bytes)
    throw DataError(archive.where() + ": is not a zip archive, or its end is missing");
  const std::uint64_t tail = std::min<std::uint64_t>(archive.size(), end_bytes + 0xffff);
  const std::string bytes = archive.text(archive.size() - tail, static_cast<std::size_t>(tail));
  for (std::uint64_t at = tail - end_bytes + 1; at-- > 0;) {
    LittleEndian record(std::string_view(bytes).substr(static_cast<std::size_t>(at)));
    if (record.u32() != end_mark) continue;
    record.take(16);
    if (record.u16() == tail - at - end_bytes) return archive.size() - tail + at;
  }
  throw DataError(archive.where() + ": is not a zip archive, or its end is missing; copy it again");
}

/// The 64-bit record that stands before the locator, which must agree with what fits into 32 bits.
End read_end64(const ByteSource& archive, std::uint64_t locator_at, const End& end32) {
  const std::string locator = archive.text(locator_at, locator_bytes);
  LittleEndian fields(locator);
  fields.take(8);
  const std::uint64_t at = fields.u64();
  if (fields.u32() > 1 || locator_at < end64_bytes || at != locator_at - end64_bytes)
    damaged(archive, "its zip64 end is not where it says");
  const std::string record = archive.text(at, end64_bytes);
  LittleEndian end(record);
  if (end.u32() != end64_mark || end.u64() != end64_bytes - 12)
    damaged(archive, "its zip64 end is not where it says");
  end.take(4);
  if (end.u32() != 0 || end.u32() != 0) damaged(archive, "it is a part of several files");
  const std::uint64_t here = end.u64();
  const End result{end.u64(), 0, 0};
  const std::uint64_t bytes = end.u64(), offset = end.u64();
  if (here != result.members ||
      (end32.members != 0xffff && end32.members != result.members) ||
      (end32.bytes != in_zip64 && end32.bytes != bytes) ||
      (end32.offset != in_zip64 && end32.offset != offset))
    damaged(archive, "its two ends contradict each other");
  if (offset > at || bytes != at - offset)
    damaged(archive, "its directory does not end where the end of the archive begins");
  return {result.members, offset, bytes};
}

End read_end(const ByteSource& archive) {
  const std::uint64_t at = find_end(archive);
  const std::string record = archive.text(at, end_bytes);
  LittleEndian fields(record);
  fields.take(4);
  const std::uint16_t disk = fields.u16(), first_disk = fields.u16(), here = fields.u16();
  const std::uint16_t members = fields.u16();
  const std::uint32_t bytes = fields.u32(), offset = fields.u32();
  const End end{members, offset, bytes};
  if (disk != 0 || first_disk != 0 || here != members) damaged(archive, "it is a part of several files");
  if (at >= locator_bytes) {
    const std::string before = archive.text(at - locator_bytes, 4);
    if (LittleEndian(before).u32() == locator_mark) return read_end64(archive, at - locator_bytes, end);
  }
  if (end.offset > at || end.bytes != at - end.offset)
    damaged(archive, "its directory does not end where the end of the archive begins");
  return end;
}

/// Replaces the sizes that did not fit into 32 bits by those of the zip64 extra field.
struct Extra {
  std::uint64_t *size, *compressed, *offset;  ///< offset may be null
};

void read_extra(const ByteSource& archive, const std::string& name, std::string_view bytes, Extra values) {
  bool seen = false;
  LittleEndian fields(bytes);
  const auto fail = [&] { damaged(archive, fmt::format("member '{}' has a broken extra field", name)); };
  while (fields.left() >= 4) {
    const std::uint16_t id = fields.u16(), length = fields.u16();
    if (length > fields.left()) fail();
    const std::string_view content = fields.take(length);
    if (id != 1) continue;
    if (seen) fail();
    seen = true;
    LittleEndian zip64(content);
    for (std::uint64_t* value : {values.size, values.compressed, values.offset}) {
      if (!value || *value != in_zip64) continue;
      if (zip64.left() < 8) fail();
      *value = zip64.u64();
    }
  }
  if (seen) return;
  for (const std::uint64_t* value : {values.size, values.compressed, values.offset})
    if (value && *value == in_zip64) fail();
}

void require_good_name(const ByteSource& archive, const std::string& name) {
  const auto fail = [&](const char* why) {
    throw DataError(fmt::format("{}: member '{}' {}; save the arrays under plain names", archive.where(),
                                printable(name), why));
  };
  if (name.empty() || name.size() > longest_name) fail("has a name of an impossible length");
  for (const char c : name)
    if (static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == '\x7f')
      fail("has control characters or a backslash in its name");
  if (name.front() == '/' || name.find(':') == 1) fail("has an absolute name");
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    if (name.substr(at, end - at) == "..") fail("has a name that leads out of the folder");
    at = end + 1;
  }
}

/// A member as the directory describes it; `offset` is that of its local header.
ZipMember read_central(const ByteSource& archive, LittleEndian& fields, std::uint16_t& flags) {
  if (fields.left() < central_bytes || fields.u32() != central_mark)
    damaged(archive, "its directory breaks off");
  fields.take(4);
  flags = fields.u16();
  const std::uint16_t method = fields.u16();
  fields.take(4);
  ZipMember member;
  member.crc = fields.u32();
  member.compressed = fields.u32(), member.size = fields.u32();
  const std::uint16_t name = fields.u16(), extra = fields.u16(), comment = fields.u16();
  const std::uint16_t disk = fields.u16();
  fields.take(6);
  member.offset = fields.u32();
  if (std::size_t{name} + extra + comment > fields.left() || disk != 0)
    damaged(archive, "its directory breaks off");
  member.name = fields.take(name);
  const std::string shown = printable(member.name);
  read_extra(archive, shown, fields.take(extra), {&member.size, &member.compressed, &member.offset});
  fields.take(comment);
  require_good_name(archive, member.name);
  if (flags & 1)
    throw DataError(fmt::format("{}: member '{}' is encrypted; write the archive without a password",
                                archive.where(), shown));
  if ((flags & ~known_flags) != 0)
    damaged(archive, fmt::format("member '{}' has unknown flags {:#x}", shown, flags));
  if (method != 0 && method != 8)
    throw DataError(fmt::format("{}: member '{}' is compressed by method {}; write the archive with "
                                "np.savez or np.savez_compressed",
                                archive.where(), shown, method));
  member.deflated = method == 8;
  if (!member.deflated && member.compressed != member.size)
    damaged(archive, fmt::format("member '{}' is stored but has two sizes", shown));
  if (member.deflated && member.size / most_inflation > member.compressed)
    throw DataError(fmt::format("{}: member '{}' declares {} bytes in {}, more than deflate can hold; "
                                "the archive is damaged, write it again",
                                archive.where(), shown, member.size, member.compressed));
  return member;
}

/// Checks the local header against the directory and moves `offset` to the bytes of the member.
/// Returns where they end.
std::uint64_t read_local(const ByteSource& archive, ZipMember& member, std::uint16_t flags,
                         std::uint64_t directory) {
  const std::string shown = printable(member.name);
  const auto fail = [&](const char* what) {
    damaged(archive, fmt::format("member '{}' {}", shown, what));
  };
  if (member.offset > directory || directory - member.offset < local_bytes)
    fail("lies outside of the archive");
  const std::string header = archive.text(member.offset, local_bytes);
  LittleEndian fields(header);
  if (fields.u32() != local_mark) fail("has no local header");
  fields.take(2);
  const std::uint16_t local_flags = fields.u16(), method = fields.u16();
  fields.take(4);
  const std::uint32_t crc = fields.u32();
  std::uint64_t compressed = fields.u32(), size = fields.u32();
  const std::uint16_t name = fields.u16(), extra = fields.u16();
  const std::uint64_t data = member.offset + local_bytes + name + extra;
  if (data > directory || directory - data < member.compressed) fail("lies outside of the archive");
  const std::string rest = archive.text(member.offset + local_bytes, std::size_t{name} + extra);
  if (rest.substr(0, name) != member.name) fail("has another name in its local header");
  read_extra(archive, shown, std::string_view(rest).substr(name), {&size, &compressed, nullptr});
  const bool later = (flags & descriptor_flag) != 0;  // sizes and checksum follow the data
  const auto agrees = [&](std::uint64_t local, std::uint64_t central) {
    return local == central || (later && local == 0);
  };
  if (local_flags != flags || (method == 8) != member.deflated || (method != 0 && method != 8) ||
      !agrees(compressed, member.compressed) || !agrees(size, member.size) ||
      !agrees(crc, member.crc))
    fail("contradicts its local header");
  member.offset = data;
  return data + member.compressed;
}

}  // namespace

std::vector<ZipMember> read_zip(const ByteSource& archive) {
  const End end = read_end(archive);
  if (end.bytes > largest_directory || end.members > end.bytes / central_bytes)
    damaged(archive, fmt::format("it declares {} members in a directory of {} bytes", end.members,
                                 end.bytes));
  const std::string directory = archive.text(end.offset, static_cast<std::size_t>(end.bytes));
  LittleEndian fields(directory);
  std::vector<ZipMember> members;
  std::set<std::string> names;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;
  for (std::uint64_t i = 0; i < end.members; ++i) {
    std::uint16_t flags = 0;
    ZipMember member = read_central(archive, fields, flags);
    if (!names.insert(member.name).second)
      damaged(archive, fmt::format("member '{}' is there twice", printable(member.name)));
    const std::uint64_t begin = member.offset;
    extents.emplace_back(begin, read_local(archive, member, flags, end.offset));
    members.push_back(std::move(member));
  }
  if (fields.left() > 0) damaged(archive, "its directory is longer than its members");
  std::ranges::sort(extents);
  for (std::size_t i = 1; i < extents.size(); ++i)
    if (extents[i].first < extents[i - 1].second) damaged(archive, "two members overlap");
  return members;
}

}  // namespace fp8scope
