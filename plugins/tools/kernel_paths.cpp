// Which method of plugins/cuda/dispatch.h a call uses, and the width of its accesses. For the GPU
// check (benchmarks/gpu/exactness.py), which must use each of them.
#include "dispatch.h"
#include "segnet/export.h"

namespace segnet {
namespace {

struct Path {
  int method, width;
};

struct NamePath {
  Path operator()(Work) const { return {-1, 0}; }
  template <typename T, int kWidth>
  Path operator()(const PoolRuns<T, kWidth>&) const { return {0, kWidth}; }
  template <typename T, int kWidth>
  Path operator()(const UnpoolRuns<T, kWidth>&) const { return {0, kWidth}; }
  template <typename T, int kWidth>
  Path operator()(const PoolPixels<T, kWidth>&) const { return {1, kWidth}; }
  template <typename T, int kWidth>
  Path operator()(const UnpoolPixels<T, kWidth>&) const { return {1, kWidth}; }
};

}  // namespace
}  // namespace segnet

// `kind` is a DataKind, `layout` a Layout (window_code.h). Returns 0 for runs, 1 for pixels, and -1
// if nothing is launched; `width` is set to the elements of an access. No tensor is accessed.
SEGNET_EXPORT int segnet_kernel_path(int unpool, int kind, int layout, const void* x,
                                     const void* y, const void* codes, int64_t n, int64_t c,
                                     int64_t h, int64_t w, int ceil_mode, int* width) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout)};
  auto* words = static_cast<int32_t*>(const_cast<void*>(codes));
  const Path path = unpool ? segnet::unpool(on, y, words, const_cast<void*>(x), NamePath{})
                           : pool(on, x, const_cast<void*>(y), words, NamePath{});
  *width = path.width;
  return path.method;
}
