// The layouts of Hopper's matrix instructions: formulas of cuda/wgmma_layout.hpp against others, written in
// another way.
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

#include "cuda/wgmma_layout.hpp"

namespace fp8scope::cuda {
namespace {

// PTX ISA: the 128-byte swizzle flips bits 4 to 6 of an address by its bits 7 to 9. TMA writes so.
int swizzled_address(int linear) { return linear ^ ((linear >> 7 & 7) << 4); }

TEST(WgmmaLayout, TheSwizzleIsThatOfTheAddressBits) {
  for (int row = 0; row < 128; ++row)
    for (int byte = 0; byte < 128; ++byte) ASSERT_EQ(swizzled_offset(row, byte), swizzled_address(row * 128 + byte)) << row << " " << byte;
}

// A core matrix is 8 rows of 16 bytes; the descriptor walks K by the leading offset and rows by the stride.
TEST(WgmmaLayout, PlainTilesAreCoreMatricesAtTheDescriptorsOffsets) {
  for (int row = 0; row < 256; ++row)
    for (int byte = 0; byte < instruction_bytes; ++byte) {
      const int core = row / 8 * static_cast<int>(plain_stride) + byte / 16 * static_cast<int>(plain_leading);
      ASSERT_EQ(plain_offset(row, byte), core + row % 8 * 16 + byte % 16);
    }
}

/// Both layouts give every byte a place of its own.
TEST(WgmmaLayout, NoTwoBytesShareAPlace) {
  std::set<int> plain, swizzled;
  for (int row = 0; row < 64; ++row) {
    for (int byte = 0; byte < 32; ++byte) plain.insert(plain_offset(row, byte));
    for (int byte = 0; byte < 128; ++byte) swizzled.insert(swizzled_offset(row, byte));
  }
  EXPECT_EQ(plain.size(), 64u * 32u);
  EXPECT_EQ(*plain.rbegin(), 64 * 32 - 1);
  EXPECT_EQ(swizzled.size(), 64u * 128u);
  EXPECT_EQ(*swizzled.rbegin(), 64 * 128 - 1);
}

// Within a swizzled tile the next 32 of K are 32 bytes on, before the flip: so the start address may be moved by
// them, as the hardware flips the bits of the sum. Rows 64 on begin 64 * 128 bytes on.
TEST(WgmmaLayout, TheDescriptorMovesAlongKWithinASwizzledTile) {
  for (int q = 0; q < 4; ++q)
    for (int row = 0; row < 64; ++row)
      for (int byte = 0; byte < 32; ++byte)
        ASSERT_EQ(swizzled_address(row / 8 * static_cast<int>(swizzled_stride) + row % 8 * 128 + 32 * q + byte), swizzled_offset(row, 32 * q + byte));
  const std::uint64_t start = matrix_descriptor(0x2400, 16, swizzled_stride, Swizzle::bytes128);
  EXPECT_EQ(start + 2, matrix_descriptor(0x2400 + 32, 16, swizzled_stride, Swizzle::bytes128));
}

TEST(WgmmaLayout, DescriptorsHaveTheirFieldsWhereThePtxManualSays) {
  const std::uint64_t d = matrix_descriptor(0x12340, 128, 256, Swizzle::none);
  EXPECT_EQ(d & 0x3fff, 0x1234u);
  EXPECT_EQ(d >> 16 & 0x3fff, 8u);
  EXPECT_EQ(d >> 32 & 0x3fff, 16u);
  EXPECT_EQ(d >> 62, 0u);
  EXPECT_EQ(matrix_descriptor(0, 0, 0, Swizzle::bytes128) >> 62, 1u);
  EXPECT_EQ(matrix_descriptor(0x80010, 0, 0, Swizzle::none), 1u);  // 18 bits of the address
}

/// Every element of a tile belongs to one register of one thread.
TEST(WgmmaLayout, AccumulatorsCoverTheTileOnce) {
  for (const int columns : {8, 128, 256}) {
    std::vector<int> owners(static_cast<std::size_t>(64 * columns));
    for (int thread = 0; thread < 128; ++thread)
      for (int i = 0; i < columns / 2; ++i)
        ++owners[static_cast<std::size_t>(accumulator_row(thread / 32, thread % 32, i) * columns + accumulator_column(thread % 32, i))];
    for (const int count : owners) ASSERT_EQ(count, 1);
  }
}

// The figures of the PTX manual, m16n8k32: groupID = lane / 4, threadID_in_group = lane % 4.
TEST(WgmmaLayout, FragmentsAreThoseOfTheManual) {
  for (int lane = 0; lane < 32; ++lane) {
    const int group = lane >> 2, in_group = lane & 3;
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(accumulator_row(0, lane, i), i < 2 ? group : group + 8);
      EXPECT_EQ(accumulator_column(lane, i), in_group * 2 + (i & 1));
    }
    for (int byte = 0; byte < 16; ++byte) {  // a0 .. a15
      const int j = byte / 4;
      EXPECT_EQ(a_register_row(0, lane, j), byte < 4 || (byte >= 8 && byte < 12) ? group : group + 8);
      EXPECT_EQ(a_register_byte(lane, j) + byte % 4, in_group * 4 + (byte & 3) + (byte < 8 ? 0 : 16));
    }
    for (int byte = 0; byte < 8; ++byte) {  // b0 .. b7
      EXPECT_EQ(b_register_column(lane), group);
      EXPECT_EQ(b_register_byte(lane, byte / 4) + byte % 4, in_group * 4 + (byte & 3) + (byte < 4 ? 0 : 16));
    }
  }
}

TEST(WgmmaLayout, RegistersCoverTheOperandsOnce) {
  std::vector<int> a(64 * 32), b(8 * 32);
  for (int thread = 0; thread < 128; ++thread)
    for (int j = 0; j < 4; ++j)
      for (int v = 0; v < 4; ++v) ++a[static_cast<std::size_t>(a_register_row(thread / 32, thread % 32, j) * 32 + a_register_byte(thread % 32, j) + v)];
  for (int lane = 0; lane < 32; ++lane)
    for (int j = 0; j < 2; ++j)
      for (int v = 0; v < 4; ++v) ++b[static_cast<std::size_t>(b_register_column(lane) * 32 + b_register_byte(lane, j) + v)];
  for (const int count : a) ASSERT_EQ(count, 1);
  for (const int count : b) ASSERT_EQ(count, 1);
}

}  // namespace
}  // namespace fp8scope::cuda
