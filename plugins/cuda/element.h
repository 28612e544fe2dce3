// Element types as plain storage, with the one thing that pooling asks of them: their order.
#pragma once

#include <cstring>

#include "segnet/window_code.h"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

#if defined(__CUDACC__)
#define SEGNET_UNROLL _Pragma("unroll")
#else
#define SEGNET_UNROLL
#endif

namespace segnet {

constexpr int kThreads = 256;  // of a block
constexpr int kSector = 32;    // bytes that memory moves at once
constexpr int kAccess = 16;    // bytes of the widest access

// Every access to data goes through load and store, so that a recorder can watch a warp's
// accesses on the host. `step` numbers the accesses of a thread: those of one warp with one
// step are one instruction.
#if defined(SEGNET_RECORD)
void record(const void* address, int bytes, int step, bool store);
#define SEGNET_NOTE(address, bytes, step, store) record(address, bytes, step, store)
#else
#define SEGNET_NOTE(address, bytes, step, store) static_cast<void>(step)
#endif

#if defined(__CUDA_ARCH__)
// The compiler takes a struct apart, and does not always put it together again: each word is
// one access, by its intrinsic.
template <int kBytes>
struct Word {};
template <>
struct Word<1> { using Type = uint8_t; };
template <>
struct Word<2> { using Type = uint16_t; };
template <>
struct Word<4> { using Type = uint32_t; };
template <>
struct Word<8> { using Type = uint2; };
template <>
struct Word<16> { using Type = uint4; };
template <typename V>
using WordOf = typename Word<(sizeof(V) < kAccess ? sizeof(V) : kAccess)>::Type;
#endif

template <typename V>
SEGNET_HD V load(const V* from, int step) {
  SEGNET_NOTE(from, static_cast<int>(sizeof(V)), step, false);
  V value;
#if defined(__CUDA_ARCH__)
  WordOf<V> words[sizeof(V) / sizeof(WordOf<V>)];
  SEGNET_UNROLL
  for (unsigned i = 0; i < sizeof(V) / sizeof(WordOf<V>); ++i)
    words[i] = __ldg(reinterpret_cast<const WordOf<V>*>(from) + i);  // inputs are only read
  std::memcpy(&value, words, sizeof(V));
#else
  std::memcpy(static_cast<void*>(&value), static_cast<const void*>(from), sizeof(V));
#endif
  return value;
}

template <typename V>
SEGNET_HD void store(V* to, const V& value, int step) {
  SEGNET_NOTE(to, static_cast<int>(sizeof(V)), step, true);
#if defined(__CUDA_ARCH__)
  WordOf<V> words[sizeof(V) / sizeof(WordOf<V>)];
  std::memcpy(words, &value, sizeof(V));
  SEGNET_UNROLL
  for (unsigned i = 0; i < sizeof(V) / sizeof(WordOf<V>); ++i)
    __stwb(reinterpret_cast<WordOf<V>*>(to) + i, words[i]);
#else
  std::memcpy(static_cast<void*>(to), static_cast<const void*>(&value), sizeof(V));
#endif
}

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

SEGNET_HD float bits_to_float(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

SEGNET_HD float as_float(float value) { return value; }
SEGNET_HD float as_float(int8_t value) { return static_cast<float>(value); }
SEGNET_HD float as_float(BFloat16 value) { return bits_to_float(uint32_t{value.bits} << 16); }
SEGNET_HD float as_float(Half value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  const uint32_t sign = uint32_t{value.bits} >> 15 << 31, body = value.bits & 0x7fffu;
  if (body >= 0x7c00u) return bits_to_float(sign | 0x7f800000u | (body & 0x3ffu) << 13);
  if (body >= 0x400u) return bits_to_float(sign | ((body << 13) + (112u << 23)));
  const float small = static_cast<float>(body) * bits_to_float(103u << 23);  // body * 2^-24
  return sign ? -small : small;
#endif
}

// PyTorch's rule: a later element wins when it is larger, or when it is NaN.
template <typename T>
SEGNET_HD bool wins(T value, T best) {
  const float v = as_float(value);
  return v > as_float(best) || v != v;
}

// kCount neighbouring elements in one access of at most 16 bytes where they are aligned.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
  T of[kCount];
};

// A run of kCount elements, in one access.
template <typename T, int kCount>
SEGNET_HD Run<T, kCount> load_run(const T* from, int step) {
  return load(reinterpret_cast<const Run<T, kCount>*>(from), step);
}

template <typename T, int kCount>
SEGNET_HD void store_run(T* to, const Run<T, kCount>& values, int step) {
  store(reinterpret_cast<Run<T, kCount>*>(to), values, step);
}

// An operation is a struct with blocks(), shared_bytes() and a call that runs one block of
// kThreads: each(f) runs f(thread) for all of them and waits. A launcher, a host loop and a
// recorder run the same ones.
inline uint32_t blocks_for(int64_t threads) {
  return static_cast<uint32_t>((threads + kThreads - 1) / kThreads);
}

}  // namespace segnet
