// Any width and channel count, in both layouts: a block copies tiles to shared memory, computes
// there and copies the result back, so that its device accesses are contiguous. How the plane is
// divided is in tiling.h; rows and pixels of whole sectors are in nchw_runs.h and nhwc_pixels.h.
#pragma once

#include "element.h"
#include "tiling.h"

namespace segnet {

template <typename T>
struct PoolTiles {
  static constexpr int kResident = 2;

  Tiling tiling;
  const T* x;
  T* y;
  int32_t* codes;

  uint32_t blocks() const {
    return tiling.s.pooled_h() * tiling.s.pooled_w() > 0 ? tiling.blocks() : 0;
  }
  uint32_t block_threads() const { return kThreads; }
  int shared_bytes() const { return tile_bytes<T>(tiling); }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    const BlockTiles<T> tiles(tiling, block, const_cast<T*>(x), y, codes, memory);
    const Tile<int32_t> words = tiles.code_tile(memory);
    each_slice(tiles, words, [&](const Slice<T>& slice) {
      each([&](uint32_t t) { copy<Copy::kIn>(slice.full, t, 0); });
      each([&](uint32_t t) { pool(tiles, slice, words, t); });
      each([&](uint32_t t) { copy<Copy::kOut>(slice.pooled, t, 0); });
    });
    each([&](uint32_t t) { copy<Copy::kOut>(words, t, 0); });
  }

  SEGNET_HD void pool(const BlockTiles<T>& tiles, const Slice<T>& slice,
                      const Tile<int32_t>& words, int thread) const {
    const int cells = tiles.pooled_rows * tiles.pooled_columns;
    for (int item = thread; item < cells * tiles.words(); item += kThreads) {
      const int word = item / cells, cell = item % cells;
      const int i = cell / tiles.pooled_columns, j = cell % tiles.pooled_columns;
      const bool right = 2 * j + 1 < tiles.full_columns, below = 2 * i + 1 < tiles.full_rows;
      int from, to;
      tiles.range(word, slice.channel, slice.count, &from, &to);
      int32_t* code_word = words.line(word * tiles.pooled_rows + i) + j;
      const bool first = slice.channel == tiles.first_channel();
      uint32_t bits = first ? 0u : static_cast<uint32_t>(*code_word);
      for (int k = from; k < to; ++k) {
        T best = *tiles.full_element(slice.full, k, 2 * i, 2 * j);
        uint32_t code = 0;
        SEGNET_UNROLL
        for (uint32_t e = 1; e < 4; ++e) {
          if ((e % 2 && !right) || (e / 2 && !below)) continue;
          const T value = *tiles.full_element(slice.full, k, 2 * i + e / 2, 2 * j + e % 2);
          if (wins(value, best)) best = value, code = e;
        }
        *tiles.pooled_element(slice.pooled, k, i, j) = best;
        const int64_t at = slice.channel + k;
        if (at < tiling.s.c) bits |= code << (2 * (at % kChannelsPerWord));
      }
      *code_word = static_cast<int32_t>(bits);
    }
  }
};

template <typename T>
struct UnpoolTiles {
  static constexpr int kResident = 2;

  Tiling tiling;
  const T* y;
  const int32_t* codes;
  T* x;

  uint32_t blocks() const { return tiling.blocks(); }
  uint32_t block_threads() const { return kThreads; }
  int shared_bytes() const { return tile_bytes<T>(tiling); }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    const BlockTiles<T> tiles(tiling, block, x, const_cast<T*>(y), const_cast<int32_t*>(codes),
                              memory);
    const Tile<int32_t> words = tiles.code_tile(memory);
    each_slice(tiles, words, [&](const Slice<T>& slice) {
      each([&](uint32_t t) {
        if (slice.channel == tiles.first_channel()) copy<Copy::kIn>(words, t, 0);
        copy<Copy::kIn>(slice.pooled, t, kThreads);
      });
      each([&](uint32_t t) { unpool(tiles, slice, words, t); });
      each([&](uint32_t t) { copy<Copy::kOut>(slice.full, t, 0); });
    });
  }

  // Windows that were not pooled (odd sizes, rounded down) become zero.
  SEGNET_HD void unpool(const BlockTiles<T>& tiles, const Slice<T>& slice,
                        const Tile<int32_t>& words, int thread) const {
    const int cells = tiles.rows * tiles.columns;
    for (int item = thread; item < cells * tiles.words(); item += kThreads) {
      const int word = item / cells, cell = item % cells;
      const int i = cell / tiles.columns, j = cell % tiles.columns;
      const bool was_pooled = i < tiles.pooled_rows && j < tiles.pooled_columns;
      const uint32_t bits =
          was_pooled ? static_cast<uint32_t>(words.line(word * tiles.pooled_rows + i)[j]) : 0u;
      int from, to;
      tiles.range(word, slice.channel, slice.count, &from, &to);
      for (int k = from; k < to; ++k) {
        const T value = was_pooled ? *tiles.pooled_element(slice.pooled, k, i, j) : T{};
        const uint32_t code = bits >> (2 * ((slice.channel + k) % kChannelsPerWord)) & 3u;
        SEGNET_UNROLL
        for (uint32_t e = 0; e < 4; ++e) {
          const int row = 2 * i + e / 2, column = 2 * j + e % 2;
          if (row >= tiles.full_rows || column >= tiles.full_columns) continue;
          *tiles.full_element(slice.full, k, row, column) = code == e ? value : T{};
        }
      }
    }
  }
};

}  // namespace segnet
