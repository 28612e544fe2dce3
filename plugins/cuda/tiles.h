// Any other width and channel count, in both layouts: a block brings a tile into its memory,
// works there, and writes the result back, so that what it moves is contiguous.
#pragma once

#include "shared_memory_tile.h"
#include "nchw_runs.h"

namespace segnet {

constexpr int kTileBytes = 12 * 1024;  // of the full plane; four blocks and more share a processor

// How the plane is cut. Cells are windows; channels are cut within a word (NCHW), or in whole
// words (channels last).
struct Tiling {
  PoolShape s;
  bool last;
  int64_t pitch;  // channels last: elements between two pixels
  int rows, columns, channels;

  SEGNET_HD int64_t bands() const { return (s.cell_rows() + rows - 1) / rows; }
  SEGNET_HD int64_t strips() const { return (s.cell_columns() + columns - 1) / columns; }
  SEGNET_HD int64_t slices() const {
    return last ? (pitch + channels - 1) / channels : s.words();
  }
  uint32_t blocks() const { return static_cast<uint32_t>(s.n * slices() * bands() * strips()); }
};

inline int at_most(int64_t value, int64_t limit) {
  return static_cast<int>(value < limit ? value : limit);
}

inline Tiling tiling_of(const PoolShape& s, bool last, int64_t pitch, int element) {
  const int64_t pair = 2 * s.w * element * (last ? pitch : 1), plane = s.cell_rows() * pair;
  const int64_t window = 4 * element * (last ? pitch : 1);
  const int rows = at_most(s.cell_rows(), kTileBytes / pair);
  if (last && window > kTileBytes) {  // thousands of channels: some words of one window
    const int words = kTileBytes / (4 * element * kChannelsPerWord);
    return {s, last, pitch, 1, 1, words * kChannelsPerWord};
  }
  const int all = last ? static_cast<int>(pitch) : 1;
  if (rows == 0) return {s, last, pitch, 1, static_cast<int>(kTileBytes / window), all};
  const int columns = static_cast<int>(s.cell_columns());
  if (last || plane > kTileBytes) return {s, last, pitch, rows, columns, all};
  return {s, last, pitch, rows, columns, at_most(kChannelsPerWord, kTileBytes / plane)};
}

// The part of a tensor pair that one block has: cells, and the three tiles of some channels.
template <typename T>
struct Part {
  Tiling by;
  T *full, *pooled;
  int32_t* codes;
  unsigned char* memory;
  int64_t image, slice, row, column;  // of the first cell
  int rows, columns, full_rows, full_columns, pooled_rows, pooled_columns;

  SEGNET_HD Part(const Tiling& by, uint32_t block, T* full, T* pooled, int32_t* codes,
                 unsigned char* memory)
      : by(by), full(full), pooled(pooled), codes(codes), memory(memory) {
    const PoolShape& s = by.s;
    const uint32_t strips = by.strips(), bands = by.bands(), slices = by.slices();
    column = int64_t{block % strips} * by.columns, row = int64_t{block / strips % bands} * by.rows;
    slice = block / strips / bands % slices, image = block / strips / bands / slices;
    rows = least(by.rows, s.cell_rows() - row), columns = least(by.columns, s.cell_columns() - column);
    full_rows = least(2 * rows, s.h - 2 * row), full_columns = least(2 * columns, s.w - 2 * column);
    pooled_rows = least(rows, s.pooled_h() - row);
    pooled_columns = least(columns, s.pooled_w() - column);
    if (pooled_rows == 0) pooled_columns = 0;
  }

  SEGNET_HD static int least(int limit, int64_t rest) {
    return rest < limit ? static_cast<int>(rest) : limit;
  }

  // Channels of the block: those of a word (NCHW), or of some words.
  SEGNET_HD int64_t first_channel() const {
    return slice * (by.last ? by.channels : kChannelsPerWord);
  }
  SEGNET_HD int64_t end_channel() const {
    const int64_t all = by.last ? by.pitch : by.s.c;
    const int64_t end = first_channel() + (by.last ? by.channels : kChannelsPerWord);
    return end < all ? end : all;
  }
  SEGNET_HD int words() const {
    return static_cast<int>((end_channel() - first_channel() + kChannelsPerWord - 1) /
                            kChannelsPerWord);
  }

  // `count` channels from `channel` on.
  SEGNET_HD Tile<T> full_tile(int64_t channel, int count) const {
    const int64_t h = by.s.h, w = by.s.w;
    const int64_t place = 2 * row * w + 2 * column;
    if (by.last)
      return {region((image * h * w + place) * by.pitch + channel, full_rows, w * by.pitch,
                     full_columns, by.pitch, count),
              full, memory};
    return {region((image * by.s.c + channel) * h * w + place, count, h * w, full_rows, w,
                   full_columns),
            full, memory};
  }
  SEGNET_HD Tile<T> pooled_tile(int64_t channel, int count, unsigned char* at) const {
    const int64_t h = by.s.pooled_h(), w = by.s.pooled_w(), place = row * w + column;
    if (by.last)
      return {region((image * h * w + place) * by.pitch + channel, pooled_rows, w * by.pitch,
                     pooled_columns, by.pitch, count),
              pooled, at};
    return {region((image * by.s.c + channel) * h * w + place, count, h * w, pooled_rows, w,
                   pooled_columns),
            pooled, at};
  }
  SEGNET_HD Tile<int32_t> code_tile(unsigned char* at) const {
    const int64_t h = by.s.pooled_h(), w = by.s.pooled_w();
    const int64_t word = first_channel() / kChannelsPerWord;
    return {region(((image * by.s.words() + word) * h + row) * w + column, words(), h * w,
                   pooled_rows, w, pooled_columns),
            codes, at};
  }

  // The element of channel k of a tile at (i, j), where a plane has rows x columns.
  SEGNET_HD T* element(const Tile<T>& tile, int rows_, int columns_, int k, int i, int j) const {
    return by.last ? tile.line(i * columns_ + j) + k : tile.line(k * rows_ + i) + j;
  }
  SEGNET_HD T* of_full(const Tile<T>& tile, int k, int i, int j) const {
    return element(tile, full_rows, full_columns, k, i, j);
  }
  SEGNET_HD T* of_pooled(const Tile<T>& tile, int k, int i, int j) const {
    return element(tile, pooled_rows, pooled_columns, k, i, j);
  }

  // Channels [from, to) of the `count` from `channel` on that belong to word `word` of the block.
  SEGNET_HD void range(int word, int64_t channel, int count, int* from, int* to) const {
    const int64_t begin = first_channel() + word * kChannelsPerWord - channel;
    *from = begin > 0 ? static_cast<int>(begin) : 0;
    *to = least(count, begin + kChannelsPerWord);
  }
};

// Memory of the largest block, the first one.
template <typename T>
int tile_bytes(const Tiling& by) {
  const Part<T> part(by, 0, nullptr, nullptr, nullptr, nullptr);
  const int count = Part<T>::least(by.channels, part.end_channel());
  const Tile<T> full = part.full_tile(0, count), pooled = part.pooled_tile(0, count, nullptr);
  const Tile<int32_t> codes = part.code_tile(nullptr);
  return full.region.pieces * full.region.pitch(sizeof(T)) +
         pooled.region.pieces * pooled.region.pitch(sizeof(T)) +
         codes.region.pieces * codes.region.pitch(sizeof(int32_t));
}

// Some channels of a part, `count` from `channel` on, with their tiles.
template <typename T>
struct Slice {
  int64_t channel;
  int count;
  Tile<T> full, pooled;
};

// Calls work(slice) for all channels of a part, one slice after the other behind the codes.
template <typename T, typename Work>
SEGNET_HD void each_slice(const Part<T>& part, const Tile<int32_t>& words, Work work) {
  const int64_t end = part.end_channel();
  for (int64_t channel = part.first_channel(); channel < end; channel += part.by.channels) {
    const int count = Part<T>::least(part.by.channels, end - channel);
    Tile<T> full = part.full_tile(channel, count);
    full.memory = words.end();
    work(Slice<T>{channel, count, full, part.pooled_tile(channel, count, full.end())});
  }
}

template <typename T>
struct PoolTiles {
  Tiling by;
  const T* x;
  T* y;
  int32_t* codes;

  uint32_t blocks() const { return by.s.pooled_h() * by.s.pooled_w() > 0 ? by.blocks() : 0; }
  int shared_bytes() const { return tile_bytes<T>(by); }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    const Part<T> part(by, block, const_cast<T*>(x), y, codes, memory);
    const Tile<int32_t> words = part.code_tile(memory);
    each_slice(part, words, [&](const Slice<T>& slice) {
      each([&](uint32_t t) { copy<Copy::kIn>(slice.full, t, 0); });
      each([&](uint32_t t) { pool(part, slice, words, t); });
      each([&](uint32_t t) { copy<Copy::kOut>(slice.pooled, t, 0); });
    });
    each([&](uint32_t t) { copy<Copy::kOut>(words, t, 0); });
  }

  SEGNET_HD void pool(const Part<T>& part, const Slice<T>& slice, const Tile<int32_t>& words,
                      int thread) const {
    const int cells = part.pooled_rows * part.pooled_columns;
    for (int item = thread; item < cells * part.words(); item += kThreads) {
      const int word = item / cells, cell = item % cells;
      const int i = cell / part.pooled_columns, j = cell % part.pooled_columns;
      const bool right = 2 * j + 1 < part.full_columns, below = 2 * i + 1 < part.full_rows;
      int from, to;
      part.range(word, slice.channel, slice.count, &from, &to);
      int32_t* code_word = words.line(word * part.pooled_rows + i) + j;
      uint32_t bits = slice.channel == part.first_channel() ? 0u : static_cast<uint32_t>(*code_word);
      for (int k = from; k < to; ++k) {
        T best = *part.of_full(slice.full, k, 2 * i, 2 * j);
        uint32_t code = 0;
        SEGNET_UNROLL
        for (uint32_t e = 1; e < 4; ++e) {
          if ((e % 2 && !right) || (e / 2 && !below)) continue;
          const T value = *part.of_full(slice.full, k, 2 * i + e / 2, 2 * j + e % 2);
          if (wins(value, best)) best = value, code = e;
        }
        *part.of_pooled(slice.pooled, k, i, j) = best;
        const int64_t at = slice.channel + k;
        if (at < by.s.c) bits |= code << (2 * (at % kChannelsPerWord));
      }
      *code_word = static_cast<int32_t>(bits);
    }
  }
};

template <typename T>
struct UnpoolTiles {
  Tiling by;
  const T* y;
  const int32_t* codes;
  T* x;

  uint32_t blocks() const { return by.blocks(); }
  int shared_bytes() const { return tile_bytes<T>(by); }

  template <typename Each>
  SEGNET_HD void operator()(uint32_t block, unsigned char* memory, Each each) const {
    const Part<T> part(by, block, x, const_cast<T*>(y), const_cast<int32_t*>(codes), memory);
    const Tile<int32_t> words = part.code_tile(memory);
    each_slice(part, words, [&](const Slice<T>& slice) {
      each([&](uint32_t t) {
        if (slice.channel == part.first_channel()) copy<Copy::kIn>(words, t, 0);
        copy<Copy::kIn>(slice.pooled, t, kThreads);
      });
      each([&](uint32_t t) { unpool(part, slice, words, t); });
      each([&](uint32_t t) { copy<Copy::kOut>(slice.full, t, 0); });
    });
  }

  // Cells beyond the pooled part (odd sizes, floor) become zero.
  SEGNET_HD void unpool(const Part<T>& part, const Slice<T>& slice, const Tile<int32_t>& words,
                        int thread) const {
    const int cells = part.rows * part.columns;
    for (int item = thread; item < cells * part.words(); item += kThreads) {
      const int word = item / cells, cell = item % cells;
      const int i = cell / part.columns, j = cell % part.columns;
      const bool kept = i < part.pooled_rows && j < part.pooled_columns;
      const uint32_t bits =
          kept ? static_cast<uint32_t>(words.line(word * part.pooled_rows + i)[j]) : 0u;
      int from, to;
      part.range(word, slice.channel, slice.count, &from, &to);
      for (int k = from; k < to; ++k) {
        const T value = kept ? *part.of_pooled(slice.pooled, k, i, j) : T{};
        const uint32_t code = bits >> (2 * ((slice.channel + k) % kChannelsPerWord)) & 3u;
        SEGNET_UNROLL
        for (uint32_t e = 0; e < 4; ++e) {
          const int row = 2 * i + e / 2, column = 2 * j + e % 2;
          if (row >= part.full_rows || column >= part.full_columns) continue;
          *part.of_full(slice.full, k, row, column) = code == e ? value : T{};
        }
      }
    }
  }
};

}  // namespace segnet
