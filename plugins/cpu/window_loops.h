// One row of windows: what both operations do between two rows of the full plane and one row of
// the pooled plane. Loops over `kPack` lanes and over windows are for the compiler to vectorise.
#pragma once

#include <cstdint>

namespace segnet {

#define SEGNET_INLINE inline __attribute__((always_inline))

template <typename T>
SEGNET_INLINE void take(T value, uint8_t place, T& best, uint8_t& code) {
  const bool wins = (value > best) | (value != value);  // the last NaN, as PyTorch
  best = wins ? value : best;
  code = wins ? place : code;
}

// Lanes of one window; `right` and `below` tell which of its elements are in the plane.
template <typename T, int kPack>
SEGNET_INLINE void pool_window(const T* top, const T* low, bool right, bool below, T* y,
                               uint8_t* codes) {
  for (int k = 0; k < kPack; ++k) {
    T best = top[k];
    uint8_t code = 0;
    if (right) take<T>(top[kPack + k], 1, best, code);
    if (below) take<T>(low[k], 2, best, code);
    if (right && below) take<T>(low[kPack + k], 3, best, code);
    y[k] = best;
    codes[k] = code;
  }
}

// `low` is null below the plane. Windows past the last whole one have no right half.
template <typename T, int kPack>
SEGNET_INLINE void pool_row(const T* top, const T* low, int64_t w, int64_t wo, T* y,
                            uint8_t* codes) {
  const int64_t whole = w / 2 < wo ? w / 2 : wo;
  if (low != nullptr) {
    for (int64_t j = 0; j < whole; ++j)
      pool_window<T, kPack>(top + 2 * j * kPack, low + 2 * j * kPack, true, true, y + j * kPack,
                            codes + j * kPack);
  } else {
    for (int64_t j = 0; j < whole; ++j)
      pool_window<T, kPack>(top + 2 * j * kPack, top, true, false, y + j * kPack,
                            codes + j * kPack);
  }
  for (int64_t j = whole; j < wo; ++j)
    pool_window<T, kPack>(top + 2 * j * kPack, low == nullptr ? top : low + 2 * j * kPack, false,
                          low != nullptr, y + j * kPack, codes + j * kPack);
}

// One row of the full plane, 2i (half 0) or 2i + 1 (half 1); y is null past the pooled rows.
template <typename T, int kPack>
SEGNET_INLINE void unpool_row(const T* y, const uint8_t* codes, int half, int64_t w, int64_t wo,
                              T* x) {
  const int64_t whole = y == nullptr ? 0 : (w / 2 < wo ? w / 2 : wo);
  const uint8_t left = static_cast<uint8_t>(2 * half), right = static_cast<uint8_t>(left + 1);
  for (int64_t j = 0; j < whole; ++j)
    for (int k = 0; k < kPack; ++k) {
      const T value = y[j * kPack + k];
      const uint8_t code = codes[j * kPack + k];
      x[2 * j * kPack + k] = code == left ? value : T{};
      x[(2 * j + 1) * kPack + k] = code == right ? value : T{};
    }
  for (int64_t e = 2 * whole * kPack; e < w * kPack; ++e) {
    const int64_t from = whole * kPack + e % kPack;  // the window that lacks its right half
    const bool kept = y != nullptr && whole < wo && e < (2 * whole + 1) * kPack;
    x[e] = kept && codes[from] == left ? y[from] : T{};
  }
}

}  // namespace segnet
