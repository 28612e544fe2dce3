// Channels last whose pixels are whole sectors: a thread computes 16 bytes of the channels of one
// window; the threads of one code word are adjacent. Other pixels are in tiles.h, NCHW in
// nchw_runs.h.
#pragma once

#include "nchw_runs.h"

namespace segnet {

// The assignment of threads to cells, common to both operations. `pitch` is the distance between
// two pixels in elements: c, or c padded to a multiple of 8.
template <typename T>
struct Pixels {
  static constexpr int kCount = kAccess / static_cast<int>(sizeof(T));
  static constexpr int kParts = kChannelsPerWord / kCount;
  // Words of a pixel that adjacent threads compute, so that together they access a whole sector.
  static constexpr int kWordBytes = kChannelsPerWord * static_cast<int>(sizeof(T));
  static constexpr int kWords = kSector / kWordBytes > 1 ? 2 : 1;

  PoolShape s;
  int64_t pitch;
  uint32_t size;  // threads of a block

  SEGNET_HD int64_t groups() const { return (s.words() + kWords - 1) / kWords; }
  int64_t threads(int64_t rows, int64_t columns) const {
    return s.n * groups() * kWords * rows * columns * kParts;
  }
  // Whether pixels are whole sectors, and threads fit in 32 bits: in planes of one row or column
  // there are up to four threads for a position.
  bool usable() const {
    return pitch * static_cast<int64_t>(sizeof(T)) % kSector == 0 &&
           threads(s.cell_rows(), s.cell_columns()) <= int64_t{UINT32_MAX} - kThreads;
  }
  // After those words columns vary fastest, so that a warp's code words are adjacent as well. The
  // cell may have a word beyond the last one, for which there is nothing to do.
  SEGNET_HD Cell cell(uint32_t thread, uint32_t rows, uint32_t columns) const {
    const uint32_t word = thread / kParts % kWords;
    const Cell at = cell_of(thread / kParts / kWords, groups(), rows, columns);
    return {at.image, at.word * kWords + word, at.row, at.column};
  }
  SEGNET_HD int64_t channel(const Cell& at, uint32_t thread) const {
    return at.word * kChannelsPerWord + thread % kParts * kCount;
  }
  SEGNET_HD int64_t code(const Cell& at) const {
    return ((at.image * s.words() + at.word) * s.pooled_h() + at.row) * s.pooled_w() + at.column;
  }
};

// Returns blocks as small as needed for `wanted` of them, but of at least two warps.
template <typename T>
Pixels<T> pixels_of(const PoolShape& s, int64_t pitch, int64_t wanted) {
  Pixels<T> pixels{s, pitch, kThreads};
  const int64_t threads = pixels.threads(s.cell_rows(), s.cell_columns());
  while (pixels.size > 64 && (threads + pixels.size - 1) / pixels.size < wanted) pixels.size /= 2;
  return pixels;
}

template <typename T>
struct PoolPixels {
  using Layout = Pixels<T>;
  static constexpr int kCount = Layout::kCount, kParts = Layout::kParts, kResident = 3;

  Layout on;
  const T* x;
  T* y;
  int32_t* codes;

  uint32_t blocks() const {
    return blocks_for(on.threads(on.s.pooled_h(), on.s.pooled_w()), on.size);
  }
  uint32_t block_threads() const { return on.size; }
  int shared_bytes() const { return static_cast<int>(on.size * sizeof(uint32_t)); }

  SEGNET_HD bool in_plane(const Cell& at) const {
    return at.image < on.s.n && at.word < on.s.words();
  }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    auto* bits = reinterpret_cast<uint32_t*>(memory);
    each([&](uint32_t t) {
      const Cell at = on.cell(block * on.size + t, on.s.pooled_h(), on.s.pooled_w());
      const uint32_t shift = t % kParts * 2 * kCount;
      bits[t] = in_plane(at) ? pool_channels(at, on.channel(at, t)) << shift : 0u;
    });
    each([&](uint32_t t) {
      const Cell at = on.cell(block * on.size + t * kParts, on.s.pooled_h(), on.s.pooled_w());
      if (t >= on.size / kParts || !in_plane(at)) return;
      uint32_t word = 0;
      SEGNET_UNROLL
      for (int k = 0; k < kParts; ++k) word |= bits[t * kParts + k];
      store(codes + on.code(at), static_cast<int32_t>(word), 0);
    });
  }

  // Pools kCount channels from channel `first` on; returns their codes.
  SEGNET_HD uint32_t pool_channels(const Cell& at, int64_t first) const {
    const PoolShape& s = on.s;
    if (first >= on.pitch) return 0;
    const int64_t corner = (at.image * s.h + 2 * at.row) * s.w + 2 * at.column;
    const bool inside[] = {true, 2 * at.column + 1 < s.w, 2 * at.row + 1 < s.h,
                           2 * at.column + 1 < s.w && 2 * at.row + 1 < s.h};
    Run<T, kCount> value[4];
    SEGNET_UNROLL
    for (int e = 0; e < 4; ++e)
      if (inside[e])
        value[e] = load_run<T, kCount>(x + (corner + e / 2 * s.w + e % 2) * on.pitch + first, e);
    uint32_t bits = 0;
    SEGNET_UNROLL
    for (int k = 0; k < kCount; ++k) {
      uint32_t code = 0;
      SEGNET_UNROLL
      for (uint32_t e = 1; e < 4; ++e) {
        const bool better = inside[e] & wins(value[e].of[k], value[0].of[k]);
        value[0].of[k] = better ? value[e].of[k] : value[0].of[k];
        code = better ? e : code;
      }
      if (first + k < s.c) bits |= code << (2 * k);
    }
    const int64_t pooled = (at.image * s.pooled_h() + at.row) * s.pooled_w() + at.column;
    store_run(y + pooled * on.pitch + first, value[0], 4);
    return bits;
  }
};

template <typename T>
struct UnpoolPixels {
  using Layout = Pixels<T>;
  static constexpr int kCount = Layout::kCount, kParts = Layout::kParts, kResident = 3;

  Layout on;
  const T* y;
  const int32_t* codes;
  T* x;

  uint32_t blocks() const {
    return blocks_for(on.threads(on.s.cell_rows(), on.s.cell_columns()), on.size);
  }
  uint32_t block_threads() const { return on.size; }
  int shared_bytes() const { return 0; }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char*, Each each) const {
    each([&](uint32_t t) {
      const Cell at = on.cell(block * on.size + t, on.s.cell_rows(), on.s.cell_columns());
      if (at.image < on.s.n && at.word < on.s.words())
        unpool_channels(at, on.channel(at, t), t % kParts);
    });
  }

  // Unpools kCount channels from channel `first` on, part `number` of their code word.
  SEGNET_HD void unpool_channels(const Cell& at, int64_t first, uint32_t number) const {
    const PoolShape& s = on.s;
    if (first >= on.pitch) return;
    const int64_t ho = s.pooled_h(), wo = s.pooled_w();
    Run<T, kCount> value{};
    uint32_t bits = 0;
    if (at.row < ho && at.column < wo) {
      bits = static_cast<uint32_t>(load(codes + on.code(at), -1)) >> (number * 2 * kCount);
      const int64_t pooled = (at.image * ho + at.row) * wo + at.column;
      value = load_run<T, kCount>(y + pooled * on.pitch + first, 0);
    }
    const int64_t corner = (at.image * s.h + 2 * at.row) * s.w + 2 * at.column;
    SEGNET_UNROLL
    for (uint32_t e = 0; e < 4; ++e) {
      if (2 * at.row + e / 2 >= s.h || 2 * at.column + e % 2 >= s.w) continue;
      Run<T, kCount> out;
      SEGNET_UNROLL
      for (int k = 0; k < kCount; ++k) out.of[k] = (bits >> (2 * k) & 3u) == e ? value.of[k] : T{};
      store_run(x + (corner + e / 2 * s.w + e % 2) * on.pitch + first, out,
                1 + static_cast<int>(e));
    }
  }
};

}  // namespace segnet
