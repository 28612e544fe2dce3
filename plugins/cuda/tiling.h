// How a plane is divided among blocks for the operations in tiles.h, and the tiles of one block.
#pragma once

#include "shared_memory_tile.h"

namespace segnet {

// Of the full plane; with the other two tiles a block has at most 27 KB of shared memory. Two
// blocks share a multiprocessor: their threads use 88 to 121 registers (make kernel-report).
constexpr int kTileBytes = 12 * 1024;
// Of the full plane, if there are too few blocks for all multiprocessors: shorter pieces would be
// mostly partial sectors.
constexpr int kPieceBytes = 256;

// A tile is `rows` x `columns` windows of `channels` channels. Channels are divided within a code
// word (NCHW), or into whole code words (channels last).
struct Tiling {
  PoolShape s;
  bool channels_last;
  int64_t pitch;  // channels last: the distance between two pixels in elements
  int rows, columns, channels;
  uint32_t bands, strips, slices;  // tiles below, beside and behind each other

  Tiling(const PoolShape& s, bool last, int64_t pitch, int rows, int columns, int channels)
      : s(s), channels_last(last), pitch(pitch), rows(rows), columns(columns), channels(channels) {
    const int64_t all = last ? (pitch + channels - 1) / channels : s.words();
    bands = static_cast<uint32_t>((s.cell_rows() + rows - 1) / rows);
    strips = static_cast<uint32_t>((s.cell_columns() + columns - 1) / columns);
    slices = static_cast<uint32_t>(all);
  }
  uint32_t blocks() const { return static_cast<uint32_t>(s.n) * slices * bands * strips; }
};

SEGNET_HD int minimum(int limit, int64_t value) {
  return value < limit ? static_cast<int>(value) : limit;
}

// Returns the largest tiles that fit, whole rows if possible; `element` is the size of an element.
inline Tiling largest_tiles(const PoolShape& s, bool last, int64_t pitch, int element) {
  const int64_t pair = 2 * s.w * element * (last ? pitch : 1), plane = s.cell_rows() * pair;
  const int64_t window = 4 * element * (last ? pitch : 1);
  const int rows = minimum(static_cast<int>(kTileBytes / pair), s.cell_rows());
  if (last && window > kTileBytes) {  // thousands of channels: some code words of one window
    const int words = kTileBytes / (4 * element * kChannelsPerWord);
    return {s, last, pitch, 1, 1, words * kChannelsPerWord};
  }
  const int all = last ? static_cast<int>(pitch) : 1;
  if (rows == 0) return {s, last, pitch, 1, static_cast<int>(kTileBytes / window), all};
  const int columns = static_cast<int>(s.cell_columns());
  if (last || plane > kTileBytes) return {s, last, pitch, rows, columns, all};
  return {s, last, pitch, rows, columns, minimum(kChannelsPerWord, kTileBytes / plane)};
}

// Returns tiles of fewer rows if there would be less than `wanted` blocks.
inline Tiling tiling_of(const PoolShape& s, bool last, int64_t pitch, int element, int64_t wanted) {
  const Tiling tiles = largest_tiles(s, last, pitch, element);
  const int64_t beside = s.n * tiles.slices * tiles.strips;
  if (tiles.rows == 1 || beside * tiles.bands >= wanted) return tiles;
  const int64_t pair = 2 * s.w * element * (last ? pitch : 1);
  const int64_t bands = (wanted + beside - 1) / beside, rows = (s.cell_rows() + bands - 1) / bands;
  const int64_t least = (kPieceBytes + pair - 1) / pair;
  const int fewer = minimum(tiles.rows, rows > least ? rows : least);
  const int channels =
      last ? tiles.channels : minimum(kChannelsPerWord, kTileBytes / (fewer * pair));
  return {s, last, pitch, fewer, tiles.columns, channels};
}

// The windows of one block, and its tiles of the full plane, the pooled plane and the codes.
template <typename T>
struct BlockTiles {
  Tiling tiling;
  T *full, *pooled;
  int32_t* codes;
  unsigned char* memory;
  int64_t image, slice, row, column;  // of the first window
  int rows, columns, full_rows, full_columns, pooled_rows, pooled_columns;

  SEGNET_HD BlockTiles(const Tiling& tiling, uint32_t block, T* full, T* pooled, int32_t* codes,
                       unsigned char* memory)
      : tiling(tiling), full(full), pooled(pooled), codes(codes), memory(memory) {
    const PoolShape& s = tiling.s;
    const uint32_t strips = tiling.strips, bands = tiling.bands, slices = tiling.slices;
    column = int64_t{block % strips} * tiling.columns;
    row = int64_t{block / strips % bands} * tiling.rows;
    slice = block / strips / bands % slices, image = block / strips / bands / slices;
    rows = minimum(tiling.rows, s.cell_rows() - row);
    columns = minimum(tiling.columns, s.cell_columns() - column);
    full_rows = minimum(2 * rows, s.h - 2 * row);
    full_columns = minimum(2 * columns, s.w - 2 * column);
    pooled_rows = minimum(rows, s.pooled_h() - row);
    pooled_columns = minimum(columns, s.pooled_w() - column);
    if (pooled_rows == 0) pooled_columns = 0;
  }

  // Channels of the block: those of one code word (NCHW), or of some code words (channels last).
  SEGNET_HD int64_t first_channel() const {
    return slice * (tiling.channels_last ? tiling.channels : kChannelsPerWord);
  }
  SEGNET_HD int64_t end_channel() const {
    const int64_t all = tiling.channels_last ? tiling.pitch : tiling.s.c;
    const int64_t count = tiling.channels_last ? tiling.channels : kChannelsPerWord;
    const int64_t end = first_channel() + count;
    return end < all ? end : all;
  }
  SEGNET_HD int words() const {
    return static_cast<int>((end_channel() - first_channel() + kChannelsPerWord - 1) /
                            kChannelsPerWord);
  }

  // The tiles of `count` channels from `channel` on.
  SEGNET_HD Tile<T> full_tile(int64_t channel, int count) const {
    const int64_t h = tiling.s.h, w = tiling.s.w;
    const int64_t first = 2 * row * w + 2 * column;
    if (tiling.channels_last)
      return {region((image * h * w + first) * tiling.pitch + channel, full_rows, w * tiling.pitch,
                     full_columns, tiling.pitch, count),
              full, memory};
    return {region((image * tiling.s.c + channel) * h * w + first, count, h * w, full_rows, w,
                   full_columns),
            full, memory};
  }
  SEGNET_HD Tile<T> pooled_tile(int64_t channel, int count, unsigned char* at) const {
    const int64_t h = tiling.s.pooled_h(), w = tiling.s.pooled_w(), first = row * w + column;
    if (tiling.channels_last)
      return {region((image * h * w + first) * tiling.pitch + channel, pooled_rows,
                     w * tiling.pitch, pooled_columns, tiling.pitch, count),
              pooled, at};
    return {region((image * tiling.s.c + channel) * h * w + first, count, h * w, pooled_rows, w,
                   pooled_columns),
            pooled, at};
  }
  SEGNET_HD Tile<int32_t> code_tile(unsigned char* at) const {
    const int64_t h = tiling.s.pooled_h(), w = tiling.s.pooled_w();
    const int64_t word = first_channel() / kChannelsPerWord;
    return {region(((image * tiling.s.words() + word) * h + row) * w + column, words(), h * w,
                   pooled_rows, w, pooled_columns),
            codes, at};
  }

  // Element (i, j) of channel k in a tile of rows_ x columns_.
  SEGNET_HD T* element(const Tile<T>& tile, int rows_, int columns_, int k, int i, int j) const {
    return tiling.channels_last ? tile.line(i * columns_ + j) + k : tile.line(k * rows_ + i) + j;
  }
  SEGNET_HD T* full_element(const Tile<T>& tile, int k, int i, int j) const {
    return element(tile, full_rows, full_columns, k, i, j);
  }
  SEGNET_HD T* pooled_element(const Tile<T>& tile, int k, int i, int j) const {
    return element(tile, pooled_rows, pooled_columns, k, i, j);
  }

  // Of the `count` channels from `channel` on, sets [from, to) to those in the block's code word
  // number `word`.
  SEGNET_HD void range(int word, int64_t channel, int count, int* from, int* to) const {
    const int64_t begin = first_channel() + word * kChannelsPerWord - channel;
    *from = begin > 0 ? static_cast<int>(begin) : 0;
    *to = minimum(count, begin + kChannelsPerWord);
  }
};

// Shared memory of the largest block, which is the first one.
template <typename T>
int tile_bytes(const Tiling& tiling) {
  const BlockTiles<T> tiles(tiling, 0, nullptr, nullptr, nullptr, nullptr);
  const int count = minimum(tiling.channels, tiles.end_channel());
  const Tile<T> full = tiles.full_tile(0, count), pooled = tiles.pooled_tile(0, count, nullptr);
  const Tile<int32_t> codes = tiles.code_tile(nullptr);
  return full.region.pieces * full.region.pitch(sizeof(T)) +
         pooled.region.pieces * pooled.region.pitch(sizeof(T)) +
         codes.region.pieces * codes.region.pitch(sizeof(int32_t));
}

// `count` channels of a block from `channel` on, with their tiles.
template <typename T>
struct Slice {
  int64_t channel;
  int count;
  Tile<T> full, pooled;
};

// Calls work(slice) for all channels of a block, slice by slice. The slices use the same shared
// memory, after the codes.
template <typename T, typename Work>
SEGNET_HD void each_slice(const BlockTiles<T>& tiles, const Tile<int32_t>& words, Work work) {
  const int64_t end = tiles.end_channel();
  for (int64_t channel = tiles.first_channel(); channel < end; channel += tiles.tiling.channels) {
    const int count = minimum(tiles.tiling.channels, end - channel);
    Tile<T> full = tiles.full_tile(channel, count);
    full.memory = words.end();
    work(Slice<T>{channel, count, full, tiles.pooled_tile(channel, count, full.end())});
  }
}

}  // namespace segnet
