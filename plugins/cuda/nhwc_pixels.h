// Channels last: a thread computes some channels of one window. Adjacent threads compute adjacent
// channels of up to 256 bytes, then adjacent windows. NCHW is in nchw_runs.h.
#pragma once

#include "code_words.h"
#include "divider.h"
#include "lanes.h"

namespace segnet {

constexpr int kChunk = 256;  // bytes of a pixel that adjacent threads compute

// The assignment of threads to windows and channels, common to both operations. kWidth elements are
// accessed at once; a thread computes kChannels. `pitch` is the distance between two pixels in
// elements: c, or c padded to a multiple of 8.
template <typename T, int kWidth>
struct Pixels {
  static constexpr int kChannels = kWidth < kQuad ? kQuad : kWidth;
  static constexpr int kParts = kChannelsPerWord / kChannels;  // threads of a code word
  static constexpr int kBytes = kChannels / kQuad;             // of a code word, of a thread

  PoolShape s;
  int64_t pitch;
  Divider groups, columns, rows, chunks;  // threads of a chunk, and what follows them

  Pixels(const PoolShape& s, int64_t pitch, int64_t rows, int64_t columns)
      : s(s),
        pitch(pitch),
        groups(words_of(s) * kParts),
        columns(columns),
        rows(rows),
        chunks((s.words() + words_of(s) - 1) / words_of(s)) {}

  static int64_t words_of(const PoolShape& s) {
    constexpr int kWord = kChannelsPerWord * static_cast<int>(sizeof(T));
    constexpr int64_t most = kChunk > kWord ? kChunk / kWord : 1;
    return s.words() < most ? s.words() : most;
  }
  int64_t threads() const {
    return s.n * chunks.divisor * rows.divisor * columns.divisor * groups.divisor;
  }

  struct Place {
    int64_t image, word, row, column, channel;
    uint32_t part;  // of the code word
    bool some;      // whether there is such a word
  };
  SEGNET_HD Place place(uint32_t thread) const {
    const uint32_t group = groups.take(&thread), column = columns.take(&thread);
    const uint32_t row = rows.take(&thread), chunk = chunks.take(&thread);
    const int64_t word = int64_t{chunk} * (groups.divisor / kParts) + group / kParts;
    const int64_t channel = word * kChannelsPerWord + group % kParts * kChannels;
    return {thread, word, row, column, channel, group % kParts, word < s.words()};
  }
  SEGNET_HD int64_t code(const Place& at) const {
    return ((at.image * s.words() + at.word) * s.pooled_h() + at.row) * s.pooled_w() + at.column;
  }

  SEGNET_HD Words<T, kChannels> read(const T* pixel, int64_t channel) const {
    Run<T, kChannels> values{};
    SEGNET_UNROLL
    for (int k = 0; k < kChannels; k += kWidth)
      if (channel + k < pitch) {
        const Run<T, kWidth> some = load_run<T, kWidth>(pixel + channel + k);
        SEGNET_UNROLL
        for (int i = 0; i < kWidth; ++i) values.of[k + i] = some.of[i];
      }
    return Words<T, kChannels>(values);
  }
  SEGNET_HD void write(T* pixel, int64_t channel, const Words<T, kChannels>& words) const {
    const Run<T, kChannels> values = words.elements();
    SEGNET_UNROLL
    for (int k = 0; k < kChannels; k += kWidth)
      if (channel + k < pitch) {
        Run<T, kWidth> some;
        SEGNET_UNROLL
        for (int i = 0; i < kWidth; ++i) some.of[i] = values.of[k + i];
        store_run(pixel + channel + k, some);
      }
  }
};

template <typename T, int kWidth>
struct PoolPixels {
  using On = Pixels<T, kWidth>;
  static constexpr int kResident = 0;

  On on;
  const T* x;
  T* y;
  int32_t* codes;

  int64_t threads() const { return on.threads(); }

  SEGNET_HD void operator()(uint32_t thread) const {
    const PoolShape& s = on.s;
    const typename On::Place at = on.place(thread);
    if (!at.some) return;
    const bool right = 2 * at.column + 1 < s.w, below = 2 * at.row + 1 < s.h;
    const bool inside[] = {true, right, below, right && below};
    const T* corner = x + ((at.image * s.h + 2 * at.row) * s.w + 2 * at.column) * on.pitch;
    Words<T, On::kChannels> value[4];
    SEGNET_UNROLL
    for (int e = 0; e < 4; ++e)
      if (inside[e])
        value[e] = on.read(corner + (e / 2 * s.w + e % 2) * on.pitch, at.channel);
    uint32_t bits = pack_codes<T, On::kChannels>(pool_lanes<T>(value, inside));
    const int64_t pooled = (at.image * s.pooled_h() + at.row) * s.pooled_w() + at.column;
    on.write(y + pooled * on.pitch, at.channel, value[0]);
    const int64_t left = s.c - at.channel;  // channels beyond the last one have no codes
    if (left < On::kChannels) bits &= left > 0 ? (1u << 2 * left) - 1 : 0u;
    store_codes<On::kBytes>(codes + on.code(at), at.part, bits);
  }
};

template <typename T, int kWidth>
struct UnpoolPixels {
  using On = Pixels<T, kWidth>;
  static constexpr int kResident = 0;

  On on;
  const T* y;
  const int32_t* codes;
  T* x;

  int64_t threads() const { return on.threads(); }

  // Windows that were not pooled (odd sizes, rounded down) become zero.
  SEGNET_HD void operator()(uint32_t thread) const {
    const PoolShape& s = on.s;
    const typename On::Place at = on.place(thread);
    if (!at.some) return;
    const int64_t ho = s.pooled_h(), wo = s.pooled_w();
    Words<T, On::kChannels> value, code;
    if (at.row < ho && at.column < wo) {
      const int64_t pooled = (at.image * ho + at.row) * wo + at.column;
      value = on.read(y + pooled * on.pitch, at.channel);
      code = unpack_codes<T, On::kChannels>(
          load_codes<On::kBytes>(codes + on.code(at), at.part));
    }
    T* corner = x + ((at.image * s.h + 2 * at.row) * s.w + 2 * at.column) * on.pitch;
    SEGNET_UNROLL
    for (uint32_t e = 0; e < 4; ++e) {
      if (2 * at.row + e / 2 >= s.h || 2 * at.column + e % 2 >= s.w) continue;
      on.write(corner + (e / 2 * s.w + e % 2) * on.pitch, at.channel,
               unpool_lanes<T, On::kChannels>(value, code, e));
    }
  }
};

}  // namespace segnet
