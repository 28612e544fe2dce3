// Reads and writes of device memory, in runs of elements of at most 16 bytes, and the block size.
// The element types are in element.h.
#pragma once

#include <cstring>

#include "segnet/window_code.h"

#if defined(__CUDACC__)
#define SEGNET_UNROLL _Pragma("unroll")
#else
#define SEGNET_UNROLL
#endif

namespace segnet {

constexpr uint32_t kThreads = 256;  // per block, at most
constexpr int kSector = 32;    // bytes of one memory transaction
constexpr int kAccess = 16;    // bytes of the widest access of a thread

// All device data is read and written through load and store, so that tools/recorder.cpp can
// record a warp's accesses on the host. `step` numbers the accesses of a thread: accesses of one
// warp with the same step are one instruction.
#if defined(SEGNET_RECORD)
void record(const void* address, int bytes, int step, bool store);
#define SEGNET_RECORD_ACCESS(address, bytes, step, store) record(address, bytes, step, store)
#else
#define SEGNET_RECORD_ACCESS(address, bytes, step, store) static_cast<void>(step)
#endif

#if defined(__CUDA_ARCH__)
// The compiler splits an access to a struct, and does not always merge the parts again. So each
// word is accessed by an intrinsic.
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
  SEGNET_RECORD_ACCESS(from, static_cast<int>(sizeof(V)), step, false);
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
SEGNET_HD void store(V* to, const V& value, int step) {
  SEGNET_RECORD_ACCESS(to, static_cast<int>(sizeof(V)), step, true);
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
SEGNET_HD Run<T, kCount> load_run(const T* from, int step) {
  return load(reinterpret_cast<const Run<T, kCount>*>(from), step);
}

template <typename T, int kCount>
SEGNET_HD void store_run(T* to, const Run<T, kCount>& values, int step) {
  store(reinterpret_cast<Run<T, kCount>*>(to), values, step);
}

// An operation is a struct with blocks(), block_threads(), shared_bytes() and a call operator that
// runs one block: each(f) calls f(thread) for all threads of the block and then synchronises them.
// The launcher (kernels.cu), tools/host_loop.cpp and tools/recorder.cpp run the same operations.
// kResident blocks of kThreads threads fit a multiprocessor, which limits their registers.
inline uint32_t blocks_for(int64_t threads, uint32_t size = kThreads) {
  return static_cast<uint32_t>((threads + size - 1) / size);
}

}  // namespace segnet
