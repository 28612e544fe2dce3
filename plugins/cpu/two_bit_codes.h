// What a row of windows does, in loops for the compiler to vectorise; two_bit_codes.cpp has the copies
// per element and instruction set.
#pragma once

#include <cstring>

#include "segnet/cpu_two_bit_codes.h"

#define SEGNET_FLAT inline __attribute__((always_inline))
#define SEGNET_ALONE __restrict__  // bytes may otherwise be anything's, and nothing is vectorised

namespace segnet {

template <typename T, typename Code>
SEGNET_FLAT void keep(T value, Code place, T& best, Code& code) {
  const bool wins = (value > best) | (value != value);  // the last NaN, as PyTorch
  best = wins ? value : best;
  code = wins ? place : code;
}

// Sixteen bytes of two bits -> one word, and back.
SEGNET_FLAT uint64_t squeeze(uint64_t x) {
  x = (x | x >> 6) & 0x000f000f000f000full;
  x = (x | x >> 12) & 0x000000ff000000ffull;
  return (x | x >> 24) & 0xffffu;
}
SEGNET_FLAT uint64_t spread(uint64_t x) {
  x = (x | x << 24) & 0x000000ff000000ffull;
  x = (x | x << 12) & 0x000f000f000f000full;
  return (x | x << 6) & 0x0303030303030303ull;
}
SEGNET_FLAT int32_t pack(const uint8_t* codes) {
  uint64_t halves[2];
  std::memcpy(halves, codes, sizeof halves);
  return static_cast<int32_t>(squeeze(halves[0]) | squeeze(halves[1]) << 16);
}
SEGNET_FLAT void unpack(int32_t word, uint8_t* codes) {
  const auto bits = static_cast<uint32_t>(word);
  const uint64_t halves[2] = {spread(bits & 0xffffu), spread(bits >> 16)};
  std::memcpy(codes, halves, sizeof halves);
}

// One channel of NCHW: `low` is null below the plane. Adds the codes to the words of the row.
template <typename T>
SEGNET_FLAT void pool_channel(const T* top, const T* low, int64_t w, int64_t wo, int shift,
                              T* SEGNET_ALONE y, uint32_t* SEGNET_ALONE words) {
  const int64_t whole = w / 2 < wo ? w / 2 : wo;
  if (low != nullptr) {
    for (int64_t j = 0; j < whole; ++j) {
      T best = top[2 * j];
      uint32_t code = 0;
      keep<T, uint32_t>(top[2 * j + 1], 1, best, code);
      keep<T, uint32_t>(low[2 * j], 2, best, code);
      keep<T, uint32_t>(low[2 * j + 1], 3, best, code);
      y[j] = best;
      words[j] |= code << shift;
    }
  } else {
    for (int64_t j = 0; j < whole; ++j) {
      T best = top[2 * j];
      uint32_t code = 0;
      keep<T, uint32_t>(top[2 * j + 1], 1, best, code);
      y[j] = best;
      words[j] |= code << shift;
    }
  }
  if (whole == wo) return;
  T best = top[2 * whole];  // the last window, without its right half
  uint32_t code = 0;
  if (low != nullptr) keep<T, uint32_t>(low[2 * whole], 2, best, code);
  y[whole] = best;
  words[whole] |= code << shift;
}

// One row of one channel of the full plane, 2i (half 0) or 2i + 1 (half 1); `y` is null past the
// pooled rows.
template <typename T>
SEGNET_FLAT void unpool_channel(const T* SEGNET_ALONE y, const uint32_t* SEGNET_ALONE words,
                                int shift, uint32_t half, int64_t w, int64_t wo,
                                T* SEGNET_ALONE x) {
  const int64_t whole = y == nullptr ? 0 : (w / 2 < wo ? w / 2 : wo);
  for (int64_t j = 0; j < whole; ++j) {
    const uint32_t code = words[j] >> shift & 3u;
    const T value = y[j];
    x[2 * j] = code == 2 * half ? value : T{};
    x[2 * j + 1] = code == 2 * half + 1 ? value : T{};
  }
  for (int64_t column = 2 * whole; column < w; ++column) x[column] = T{};
  if (y != nullptr && whole < wo && (words[whole] >> shift & 3u) == 2 * half)
    x[2 * whole] = y[whole];
}

// All channels of one window, channels last; `codes` has a byte each.
template <typename T, bool kRight, bool kBelow>
SEGNET_FLAT void pool_pixel(const T* a, const T* b, const T* c, const T* d, int64_t channels,
                            T* SEGNET_ALONE y, uint8_t* SEGNET_ALONE codes) {
  for (int64_t k = 0; k < channels; ++k) {
    T best = a[k];
    uint8_t code = 0;
    if (kRight) keep<T, uint8_t>(b[k], 1, best, code);
    if (kBelow) keep<T, uint8_t>(c[k], 2, best, code);
    if (kRight && kBelow) keep<T, uint8_t>(d[k], 3, best, code);
    y[k] = best;
    codes[k] = code;
  }
}

// The element `place` of a window, all channels: the pooled value where it came from here.
template <typename T>
SEGNET_FLAT void place_pixel(const T* SEGNET_ALONE y, const uint8_t* SEGNET_ALONE codes,
                             uint8_t place, int64_t channels, T* SEGNET_ALONE x) {
  for (int64_t k = 0; k < channels; ++k) {
    const T value = y[k];
    x[k] = codes[k] == place ? value : T{};
  }
}

}  // namespace segnet
