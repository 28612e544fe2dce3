// Checks of what TensorRT passes to the callbacks. A callback that refuses its arguments returns an
// error; TensorRT reports it together with the layer's name.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <initializer_list>

#include "segnet/window_code.h"

namespace segnet::trt {

constexpr int32_t kRank = 4;

// The dimensions of the three tensors of a pair.
struct PairDims {
  const nvinfer1::Dims &full, &pooled, &codes;
};

// The number of inputs and outputs. An unpool's third input is the image.
inline bool counts_fit(bool unpool, int32_t inputs, int32_t outputs) {
  return unpool ? (inputs == 2 || inputs == 3) && outputs == 1 : inputs == 1 && outputs == 2;
}

inline bool ranks_fit(const PairDims& of) {
  return of.full.nbDims == kRank && of.pooled.nbDims == kRank && of.codes.nbDims == kRank;
}

// Whether a size is known at run time only.
inline bool has_unknown_sizes(const PairDims& of) {
  for (const nvinfer1::Dims* dims : {&of.full, &of.pooled, &of.codes})
    for (int32_t i = 0; i < kRank; ++i)
      if (dims->d[i] == -1) return true;
  return false;
}

// The sizes of the full plane, with the rounding that gives the pooled plane's.
inline PoolShape shape_of(const PairDims& of) {
  const int64_t h = of.full.d[2], w = of.full.d[3];
  const bool ceil_mode = of.pooled.d[2] == (h + 1) / 2 && of.pooled.d[3] == (w + 1) / 2;
  return {of.full.d[0], of.full.d[1], h, w, ceil_mode};
}

// Whether the tensors are a full plane, what it is pooled to and the codes. Sizes may be 0. They
// have at most 31 bits, as in TensorRT, so that sums do not overflow.
inline bool sizes_fit(const PairDims& of) {
  if (!ranks_fit(of)) return false;
  for (const nvinfer1::Dims* dims : {&of.full, &of.pooled, &of.codes})
    for (int32_t i = 0; i < kRank; ++i)
      if (dims->d[i] < 0 || dims->d[i] > INT32_MAX) return false;
  const PoolShape s = shape_of(of);
  const int64_t ho = s.pooled_h(), wo = s.pooled_w();
  const auto &pooled = of.pooled.d, &codes = of.codes.d;
  return pooled[0] == s.n && pooled[1] == s.c && pooled[2] == ho && pooled[3] == wo &&
         codes[0] == s.n && codes[1] == s.words() && codes[2] == ho && codes[3] == wo;
}

// Whether there are four sizes, each with its expression.
inline bool has_rank(const nvinfer1::DimsExprs& dims) {
  if (dims.nbDims != kRank) return false;
  for (int32_t i = 0; i < kRank; ++i)
    if (dims.d[i] == nullptr) return false;
  return true;
}

}  // namespace segnet::trt
