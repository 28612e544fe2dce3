// Replaces cuda.cpp in a build without SEGNET_ONNXRUNTIME_CUDA.
#include "operators.h"

namespace segnet::ort {

const Device* cuda() { return nullptr; }

}  // namespace segnet::ort
