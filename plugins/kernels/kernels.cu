// Kernels and launchers; what a thread does is in window.h.
#include "segnet/kernels.h"
#include "window.h"

namespace segnet {
namespace {

constexpr int kThreads = 256;

template <typename T, bool kPairs>
__global__ void pool_kernel(PoolShape s, int64_t cells, const T* __restrict__ x, T* __restrict__ y,
                            int32_t* __restrict__ codes) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread < cells)
    pool_cell<T, kPairs>(s, cell_of(thread, s.words(), s.pooled_h(), s.pooled_w()), x, y, codes);
}

template <typename T, bool kPairs>
__global__ void unpool_kernel(PoolShape s, int64_t cells, const T* __restrict__ y,
                              const int32_t* __restrict__ codes, T* __restrict__ x) {
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread < cells)
    unpool_cell<T, kPairs>(s, cell_of(thread, s.words(), (s.h + 1) / 2, (s.w + 1) / 2), y, codes, x);
}

// Two columns are one access where rows start at even elements of an aligned plane.
template <typename T>
bool pairs(const PoolShape& s, const void* plane) {
  return s.w % 2 == 0 && reinterpret_cast<uintptr_t>(plane) % sizeof(Pair<T>) == 0;
}

cudaError_t grid_of(int64_t cells, unsigned* blocks) {
  const int64_t wanted = (cells + kThreads - 1) / kThreads;
  *blocks = static_cast<unsigned>(wanted);
  return wanted > 0x7fffffff ? cudaErrorInvalidConfiguration : cudaSuccess;
}

template <typename T>
cudaError_t pool(PoolShape s, const void* x, void* y, int32_t* codes, cudaStream_t stream) {
  const int64_t cells = s.n * s.words() * s.pooled_h() * s.pooled_w();
  unsigned blocks;
  if (const cudaError_t error = grid_of(cells, &blocks); error != cudaSuccess || !cells)
    return error;
  auto* const kernel = pairs<T>(s, x) ? &pool_kernel<T, true> : &pool_kernel<T, false>;
  kernel<<<blocks, kThreads, 0, stream>>>(s, cells, static_cast<const T*>(x), static_cast<T*>(y),
                                          codes);
  return cudaPeekAtLastError();
}

template <typename T>
cudaError_t unpool(PoolShape s, const void* y, const int32_t* codes, void* x, cudaStream_t stream) {
  const int64_t cells = s.n * s.words() * ((s.h + 1) / 2) * ((s.w + 1) / 2);
  unsigned blocks;
  if (const cudaError_t error = grid_of(cells, &blocks); error != cudaSuccess || !cells)
    return error;
  auto* const kernel = pairs<T>(s, x) ? &unpool_kernel<T, true> : &unpool_kernel<T, false>;
  kernel<<<blocks, kThreads, 0, stream>>>(s, cells, static_cast<const T*>(y), codes,
                                          static_cast<T*>(x));
  return cudaPeekAtLastError();
}

}  // namespace

cudaError_t max_pool(PoolShape shape, DataKind kind, const void* x, void* y, int32_t* codes,
                     cudaStream_t stream) noexcept {
  switch (kind) {
    case DataKind::kFloat32: return pool<float>(shape, x, y, codes, stream);
    case DataKind::kFloat16: return pool<Half>(shape, x, y, codes, stream);
    case DataKind::kBFloat16: return pool<BFloat16>(shape, x, y, codes, stream);
    case DataKind::kInt8: return pool<int8_t>(shape, x, y, codes, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t max_unpool(PoolShape shape, DataKind kind, const void* y, const int32_t* codes, void* x,
                       cudaStream_t stream) noexcept {
  switch (kind) {
    case DataKind::kFloat32: return unpool<float>(shape, y, codes, x, stream);
    case DataKind::kFloat16: return unpool<Half>(shape, y, codes, x, stream);
    case DataKind::kBFloat16: return unpool<BFloat16>(shape, y, codes, x, stream);
    case DataKind::kInt8: return unpool<int8_t>(shape, y, codes, x, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace segnet
