// The interface between the operators (operators.cpp) and the devices that run them (cpu.cpp,
// cuda.cpp).
#pragma once

#include "ort_abi.h"
#include "segnet/window_code.h"

namespace segnet::ort {

// One call of either operation. `context` provides the thread pool or the CUDA stream.
struct Call {
  PoolShape s;
  ElementType element;
  bool channels_last;
  const OrtApi* api;
  OrtKernelContext* context;
};

// A device: its execution provider, its element types and its kernels, which return null or an
// error.
struct Device {
  const char* provider;
  const ElementType* elements;
  size_t element_count;
  OrtStatus* (*pool)(const Call& call, const void* x, void* y, int32_t* codes);
  OrtStatus* (*unpool)(const Call& call, const void* y, const int32_t* codes, void* x);
};

const Device& cpu();
const Device* cuda();  // null in a build without CUDA

}  // namespace segnet::ort
