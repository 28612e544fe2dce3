// Reads and writes of device memory, in runs of elements of at most 16 bytes. The element types are
// in element.h.
#pragma once

#include <cstring>

#include "segnet/window_code.h"

#if defined(__CUDACC__)
#define SEGNET_UNROLL _Pragma("unroll")
#define SEGNET_LOOP _Pragma("unroll 1")
#else
#define SEGNET_UNROLL
#define SEGNET_LOOP
#endif

namespace segnet {

constexpr int kSector = 32;    // bytes of one memory transaction
constexpr int kAccess = 16;    // bytes of the widest access of a thread

// All device data is read and written through load and store, so that tools/recorder.cpp can
// record a warp's accesses on the host.
#if defined(SEGNET_RECORD)
void record(const void* address, int bytes, bool store);
#define SEGNET_RECORD_ACCESS(address, bytes, store) record(address, bytes, store)
#else
#define SEGNET_RECORD_ACCESS(address, bytes, store) static_cast<void>(0)
#endif

// The type of kBytes bytes without a meaning.
template <int kBytes>
struct Word {};
template <>
struct Word<1> { using Type = uint8_t; };
template <>
struct Word<2> { using Type = uint16_t; };
template <>
struct Word<4> { using Type = uint32_t; };
#if defined(__CUDA_ARCH__)
// The compiler splits an access to a struct, and does not always merge the parts again. So each
// word is accessed by an intrinsic.
template <>
struct Word<8> { using Type = uint2; };
template <>
struct Word<16> { using Type = uint4; };
template <typename V>
using WordOf = typename Word<(sizeof(V) < kAccess ? sizeof(V) : kAccess)>::Type;
#endif

template <typename V>
SEGNET_HD V load(const V* from) {
  SEGNET_RECORD_ACCESS(from, static_cast<int>(sizeof(V)), false);
  V value;
#if defined(__CUDA_ARCH__)
  WordOf<V> words[sizeof(V) / sizeof(WordOf<V>)];
  SEGNET_UNROLL
  for (unsigned i = 0; i < sizeof(V) / sizeof(WordOf<V>); ++i)
    words[i] = __ldg(reinterpret_cast<const WordOf<V>*>(from) + i);  // inputs are read-only
  std::memcpy(&value, words, sizeof(V));
#else
  std::memcpy(static_cast<void*>(&value), static_cast<const void*>(from), sizeof(V));
#endif
  return value;
}

template <typename V>
SEGNET_HD void store(V* to, const V& value) {
  SEGNET_RECORD_ACCESS(to, static_cast<int>(sizeof(V)), true);
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

// kCount adjacent elements, aligned so that an access has at most 16 bytes.
template <typename T, int kCount>
struct alignas(kCount * sizeof(T) < 16 ? kCount * sizeof(T) : 16) Run {
  T of[kCount];
};

// Read and write a run; one access if it has at most 16 bytes.
template <typename T, int kCount>
SEGNET_HD Run<T, kCount> load_run(const T* from) {
  return load(reinterpret_cast<const Run<T, kCount>*>(from));
}

template <typename T, int kCount>
SEGNET_HD void store_run(T* to, const Run<T, kCount>& values) {
  store(reinterpret_cast<Run<T, kCount>*>(to), values);
}

}  // namespace segnet
