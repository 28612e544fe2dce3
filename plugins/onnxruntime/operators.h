// What the operators are, apart from the device that they run on.
#pragma once

#include "ort_abi.h"
#include "segnet/window_code.h"

namespace segnet::ort {

// What both operations need of a call; `stream` is CUDA's, `context` gives the thread pool.
struct Call {
  PoolShape s;
  ElementType element;
  bool channels_last;
  const OrtApi* api;
  OrtKernelContext* context;
};

// A device: where its operators run, and what runs them. An error is a message, or null.
struct Device {
  const char* provider;
  const ElementType* elements;
  size_t element_count;
  OrtStatus* (*pool)(const Call& call, const void* x, void* y, int32_t* codes);
  OrtStatus* (*unpool)(const Call& call, const void* y, const int32_t* codes, void* x);
};

const Device& cpu();
const Device* cuda();  // null where the library is built without

}  // namespace segnet::ort
