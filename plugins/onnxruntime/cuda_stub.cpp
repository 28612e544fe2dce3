// Stands in for cuda.cpp where there is no CUDA compiler.
#include "operators.h"

namespace segnet::ort {

const Device* cuda() { return nullptr; }

}  // namespace segnet::ort
