// The launchers of kernels.cu under C names, for programs that load them at run time:
// benchmarks/kernels/cuda_kernels.py, and through it the tests.
#include "segnet/export.h"
#include "segnet/cuda_kernels.h"

using namespace segnet;

// `kind` is a DataKind, `layout` a Layout (window_code.h). Both functions return a cudaError_t.
SEGNET_EXPORT int segnet_max_pool(int kind, int layout, const void* x, void* y, int32_t* codes,
                                  int64_t n, int64_t c, int64_t h, int64_t w, int ceil_mode,
                                  void* stream) {
  return max_pool({n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), x, y, codes,
                  static_cast<cudaStream_t>(stream));
}

SEGNET_EXPORT int segnet_max_unpool(int kind, int layout, const void* y, const int32_t* codes,
                                    void* x, int64_t n, int64_t c, int64_t h, int64_t w,
                                    int ceil_mode, void* stream) {
  return max_unpool({n, c, h, w, ceil_mode != 0}, DataKind(kind), Layout(layout), y, codes, x,
                    static_cast<cudaStream_t>(stream));
}
