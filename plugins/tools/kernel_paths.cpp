// Which of the three methods of plugins/cuda/dispatch.h a call uses. For the GPU check
// (benchmarks/gpu/exactness.py), which must use each of them.
#include "dispatch.h"
#include "segnet/export.h"

namespace segnet {
namespace {

struct NamePath {
  int operator()(Work) const { return -1; }
  template <typename T>
  int operator()(const PoolRuns<T>&) const { return 0; }
  template <typename T>
  int operator()(const UnpoolRuns<T>&) const { return 0; }
  template <typename T>
  int operator()(const PoolPixels<T>&) const { return 1; }
  template <typename T>
  int operator()(const UnpoolPixels<T>&) const { return 1; }
  template <typename T>
  int operator()(const PoolTiles<T>&) const { return 2; }
  template <typename T>
  int operator()(const UnpoolTiles<T>&) const { return 2; }
};

}  // namespace
}  // namespace segnet

// `kind` is a DataKind, `layout` a Layout (window_code.h). Returns 0 for runs, 1 for pixels, 2 for
// tiles, and -1 if nothing is launched. Nothing is read or written.
SEGNET_EXPORT int segnet_kernel_path(int unpool, int kind, int layout, const void* x,
                                     const void* y, const void* codes, int64_t n, int64_t c,
                                     int64_t h, int64_t w, int ceil_mode) {
  using namespace segnet;
  const Planes on{{n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout)};
  auto* words = static_cast<int32_t*>(const_cast<void*>(codes));
  return unpool ? segnet::unpool(on, y, words, const_cast<void*>(x), NamePath{})
                : pool(on, x, const_cast<void*>(y), words, NamePath{});
}
