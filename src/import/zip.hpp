#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/import/bytes.hpp"

namespace fp8scope {

/// A member of a .zip archive.
struct ZipMember {
  std::string name;
  bool deflated = false;
  std::uint32_t crc = 0;
  std::uint64_t offset = 0;      ///< of its bytes in the archive
  std::uint64_t compressed = 0;  ///< bytes in the archive
  std::uint64_t size = 0;        ///< bytes once inflated
};

/// Reads and checks the directory of an archive: the members that NumPy's savez and savez_compressed
/// write, zip64 included, and no others.
///
/// Throws DataError if the end of the archive is missing, anything stands before or after it, a
/// member is encrypted, neither stored nor deflated, there twice, overlaps another, contradicts its
/// own local header, has a name that leads out of a folder, or declares more than deflate can give.
/// Source: PKWARE APPNOTE.TXT 6.3.10.
std::vector<ZipMember> read_zip(const ByteSource& archive);

/// The content of a member. Read from the beginning to the end, its checksum is compared (DataError);
/// a deflated one that is read backwards is inflated again.
std::shared_ptr<const ByteSource> open_member(std::shared_ptr<const ByteSource> archive, const ZipMember& member);

}  // namespace fp8scope
