// Multiply-adds in AMX tiles, where the processor has them and the kernel permits them.
// Compiled for every x86-64 processor; nothing of AMX is executed before why_no_amx() is empty.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, AMX; Linux,
// Documentation/arch/x86/xstate.rst (the permission).
#pragma once

#include <cstdint>

// What a tile loop did; `exact` is false if the sums are not what the operands give.
struct TileResult {
  int64_t macs;
  bool exact;
};

#if defined(__x86_64__) && defined(__linux__) && \
    (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

constexpr int kTileRows = 16, kTileBytes = 64;  // of one row; a tile has 1 KiB
constexpr int kTileSums = 4;                    // tiles 0 to 3; latency needs four sums

// Returns why the tiles cannot be used; empty if they can, from then on in every thread.
inline const char* why_no_amx() {
  constexpr unsigned kBf16 = 1u << 22, kTile = 1u << 24, kInt8 = 1u << 25;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kAll) != kAll)
    return "this CPU has no AMX (amx_tile, amx_int8 and amx_bf16)";
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData))
    return "the kernel refuses AMX (arch_prctl ARCH_REQ_XCOMP_PERM)";
  return "";
}

// Sets up 8 full tiles: 0 to 3 are zero, 4 to 7 have `operand` in each 2-byte element.
__attribute__((target("amx-tile"))) inline void load_tiles(uint16_t operand) {
  alignas(64) unsigned char config[64] = {1};  // palette 1
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = kTileBytes;
    config[48 + tile] = kTileRows;
  }
  alignas(64) uint16_t values[kTileRows * kTileBytes / 2];
  for (uint16_t& value : values) value = operand;
  // GCC's intrinsics do not say that they read all of this memory.
  asm volatile("" : : "r"(config), "r"(values) : "memory");
  _tile_loadconfig(config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, values, kTileBytes);
  _tile_loadd(5, values, kTileBytes);
  _tile_loadd(6, values, kTileBytes);
  _tile_loadd(7, values, kTileBytes);
}

// Stores the four sums, releases the tiles, and returns whether each element is `expected`.
template <typename T>
__attribute__((target("amx-tile"))) inline bool sums_are(T expected) {
  alignas(64) T sums[kTileSums][kTileRows * kTileBytes / sizeof(T)];
  _tile_stored(0, sums[0], kTileBytes);
  _tile_stored(1, sums[1], kTileBytes);
  _tile_stored(2, sums[2], kTileBytes);
  _tile_stored(3, sums[3], kTileBytes);
  _tile_release();
  asm volatile("" : : "r"(sums) : "memory");
  for (const auto& tile : sums)
    for (T sum : tile)
      if (sum != expected) return false;
  return true;
}

// uint8 x int8: each instruction adds 64 products to each of the 16 x 16 sums.
__attribute__((target("amx-tile,amx-int8"))) inline TileResult int8_tiles(int64_t rounds) {
  load_tiles(0x0101);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbusd(0, 4, 6);
    _tile_dpbusd(1, 4, 7);
    _tile_dpbusd(2, 5, 6);
    _tile_dpbusd(3, 5, 7);
  }
  const bool exact = sums_are(static_cast<int32_t>(rounds * kTileBytes));
  return {rounds * kTileSums * kTileRows * kTileRows * kTileBytes, exact};
}

// bf16: each instruction adds 32 products to each of the 16 x 16 fp32 sums.
__attribute__((target("amx-tile,amx-bf16"))) inline TileResult bf16_tiles(int64_t rounds) {
  load_tiles(0x3f80);  // 1.0
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  const bool exact = sums_are(static_cast<float>(rounds * kTileBytes / 2));
  return {rounds * kTileSums * kTileRows * kTileRows * kTileBytes / 2, exact};
}

#else

inline const char* why_no_amx() {
  return "compiled without AMX: it needs x86-64 Linux and GCC 11 or clang 12";
}
inline TileResult int8_tiles(int64_t) { return {0, false}; }
inline TileResult bf16_tiles(int64_t) { return {0, false}; }

#endif
