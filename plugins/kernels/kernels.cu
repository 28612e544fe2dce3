// Kernels and launchers; what a thread does is in window.h and window_last.h.
#include "segnet/kernels.h"
#include "window_last.h"

namespace segnet {
namespace {

constexpr int kThreads = 256;
constexpr int kAccessBytes = 16;

template <typename T, int kWindows>
__global__ void pool_kernel(PoolShape s, int64_t columns, int64_t cells, const T* __restrict__ x,
                            T* __restrict__ y, int32_t* __restrict__ codes) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread >= cells) return;
  pool_windows<T, kWindows>(s, cell_of(thread, s.words(), s.pooled_h(), columns), x, y, codes);
}

template <typename T, int kWindows>
__global__ void unpool_kernel(PoolShape s, int64_t columns, int64_t cells, const T* __restrict__ y,
                              const int32_t* __restrict__ codes, T* __restrict__ x) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread >= cells) return;
  unpool_windows<T, kWindows>(s, cell_of(thread, s.words(), (s.h + 1) / 2, columns), y, codes, x);
}

template <typename T, int kCount>
__global__ void pool_last_kernel(PoolShape s, int64_t pitch, int64_t cells,
                                 const T* __restrict__ x, T* __restrict__ y,
                                 int32_t* __restrict__ codes) {
  constexpr int kParts = kChannelsPerWord / kCount;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int part = static_cast<int>(thread % kParts);
  if (thread / kParts >= cells) return;
  const Cell at = cell_of_last<T>(thread / kParts, s, s.pooled_h(), s.pooled_w());
  uint32_t bits = pool_part<T, kCount>(s, pitch, at, part, x, y);
  // The threads of a word are neighbours in one warp, and all here.
  const unsigned lane = threadIdx.x % 32, group = ((1ull << kParts) - 1) << (lane - part);
  for (int distance = kParts / 2; distance > 0; distance /= 2)
    bits |= __shfl_xor_sync(group, bits, distance);
  if (part == 0 && at.word < s.words())
    codes[((at.image * s.words() + at.word) * s.pooled_h() + at.row) * s.pooled_w() + at.column] =
        static_cast<int32_t>(bits);
}

template <typename T, int kCount>
__global__ void unpool_last_kernel(PoolShape s, int64_t pitch, int64_t cells,
                                   const T* __restrict__ y, const int32_t* __restrict__ codes,
                                   T* __restrict__ x) {
  constexpr int kParts = kChannelsPerWord / kCount;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread / kParts >= cells) return;
  const Cell at = cell_of_last<T>(thread / kParts, s, (s.h + 1) / 2, (s.w + 1) / 2);
  unpool_part<T, kCount>(s, pitch, at, static_cast<int>(thread % kParts), y, codes, x);
}

// What a launch works on: `full` is the unpooled plane, `small` the pooled one.
struct Work {
  PoolShape s;
  Layout layout;
  const void *full, *small, *codes;
  cudaStream_t stream;

  int64_t pitch() const { return layout == Layout::kChannelsLast8 ? (s.c + 7) / 8 * 8 : s.c; }

  // Whether accesses of `bytes` are aligned in planes and codes, where one comes every `step`.
  bool aligned(size_t bytes, size_t step) const {
    const auto start = reinterpret_cast<uintptr_t>(full) | reinterpret_cast<uintptr_t>(small) |
                       reinterpret_cast<uintptr_t>(codes);
    return start % bytes == 0 && step % bytes == 0;
  }
};

template <typename Kernel, typename... Arguments>
cudaError_t launch(Kernel kernel, int64_t threads, cudaStream_t stream, Arguments... arguments) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  if (threads == 0) return cudaSuccess;
  if (blocks > 0x7fffffff) return cudaErrorInvalidConfiguration;
  kernel<<<static_cast<unsigned>(blocks), kThreads, 0, stream>>>(arguments...);
  return cudaPeekAtLastError();
}

template <typename T>
cudaError_t pool(const Work& on, int32_t* codes) {
  constexpr int kWide = kAccessBytes / sizeof(T);
  const PoolShape& s = on.s;
  const auto* x = static_cast<const T*>(on.full);
  auto* y = static_cast<T*>(const_cast<void*>(on.small));
  if (on.layout == Layout::kLinear)
    return with_windows<T>(s, on.aligned(kAccessBytes, kAccessBytes), [&](auto windows) {
      constexpr int kWindows = decltype(windows)::value;
      const int64_t columns = columns_of<kWindows>(s, s.pooled_w());
      const int64_t cells = s.n * s.words() * s.pooled_h() * columns;
      return launch(pool_kernel<T, kWindows>, cells, on.stream, s, columns, cells, x, y, codes);
    });
  const int64_t pitch = on.pitch(), cells = cells_last<T>(s, s.pooled_h(), s.pooled_w());
  if (on.aligned(kAccessBytes, pitch * sizeof(T)))
    return launch(pool_last_kernel<T, kWide>, cells * (16 / kWide), on.stream, s, pitch, cells, x,
                  y, codes);
  return launch(pool_last_kernel<T, 1>, cells * 16, on.stream, s, pitch, cells, x, y, codes);
}

template <typename T>
cudaError_t unpool(const Work& on, const int32_t* codes) {
  constexpr int kWide = kAccessBytes / sizeof(T);
  const PoolShape& s = on.s;
  const auto* y = static_cast<const T*>(on.small);
  auto* x = static_cast<T*>(const_cast<void*>(on.full));
  if (on.layout == Layout::kLinear)
    return with_windows<T>(s, on.aligned(kAccessBytes, kAccessBytes), [&](auto windows) {
      constexpr int kWindows = decltype(windows)::value;
      const int64_t columns = columns_of<kWindows>(s, (s.w + 1) / 2);
      const int64_t cells = s.n * s.words() * ((s.h + 1) / 2) * columns;
      return launch(unpool_kernel<T, kWindows>, cells, on.stream, s, columns, cells, y, codes, x);
    });
  const int64_t pitch = on.pitch(), cells = cells_last<T>(s, (s.h + 1) / 2, (s.w + 1) / 2);
  if (on.aligned(kAccessBytes, pitch * sizeof(T)))
    return launch(unpool_last_kernel<T, kWide>, cells * (16 / kWide), on.stream, s, pitch, cells, y,
                  codes, x);
  return launch(unpool_last_kernel<T, 1>, cells * 16, on.stream, s, pitch, cells, y, codes, x);
}

}  // namespace

cudaError_t max_pool(PoolShape shape, DataKind kind, Layout layout, const void* x, void* y,
                     int32_t* codes, cudaStream_t stream) noexcept {
  const Work on{shape, layout, x, y, codes, stream};
  switch (kind) {
    case DataKind::kFloat32: return pool<float>(on, codes);
    case DataKind::kFloat16: return pool<Half>(on, codes);
    case DataKind::kBFloat16: return pool<BFloat16>(on, codes);
    case DataKind::kInt8: return pool<int8_t>(on, codes);
  }
  return cudaErrorInvalidValue;
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, Layout layout, const void* y,
                       const int32_t* codes, void* x, cudaStream_t stream) noexcept {
  const Work on{shape, layout, x, y, codes, stream};
  switch (kind) {
    case DataKind::kFloat32: return unpool<float>(on, codes);
    case DataKind::kFloat16: return unpool<Half>(on, codes);
    case DataKind::kBFloat16: return unpool<BFloat16>(on, codes);
    case DataKind::kInt8: return unpool<int8_t>(on, codes);
  }
  return cudaErrorInvalidValue;
}

}  // namespace segnet
