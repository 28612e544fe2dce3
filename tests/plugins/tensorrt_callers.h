// What the programs that call the TensorRT plugins share: dimension expressions of known sizes, and
// the creation of plugins.
#pragma once

#include <NvInferRuntime.h>

#include <memory>
#include <vector>

namespace {

using namespace nvinfer1;

struct Number final : apiv::VDimensionExpr {
  explicit Number(int64_t value) : value(value) {}
  bool isConstant() const override { return true; }
  int64_t getConstantValue() const override { return value; }
  bool isSizeTensor() const override { return false; }
  int64_t value;
};

struct Expression final : IDimensionExpr {
  explicit Expression(int64_t value) : number(value) { mImpl = &number; }
  Number number;
};

// All sizes are known, so an expression is its value.
struct Arithmetic final : apiv::VExprBuilder {
  IDimensionExpr const* constant(int64_t value) override {
    if (left-- == 0) return nullptr;
    made.push_back(std::make_unique<Expression>(value));
    return made.back().get();
  }
  IDimensionExpr const* operation(DimensionOperation op, IDimensionExpr const& first,
                                  IDimensionExpr const& second) override {
    const int64_t a = first.getConstantValue(), b = second.getConstantValue();
    if (op == DimensionOperation::kCEIL_DIV) return constant((a + b - 1) / b);
    if (op == DimensionOperation::kFLOOR_DIV) return constant(a / b);
    return nullptr;
  }
  IDimensionExpr const* declareSizeTensor(int32_t, IDimensionExpr const&,
                                          IDimensionExpr const&) override {
    return nullptr;
  }
  std::vector<std::unique_ptr<Expression>> made;
  int left = -1;  // expressions before one cannot be made; negative: no limit
};

struct Builder final : IExprBuilder {
  Builder() { mImpl = &arithmetic; }
  DimsExprs sizes(std::vector<int64_t> values) {
    DimsExprs dims{};
    dims.nbDims = static_cast<int32_t>(values.size());
    for (size_t i = 0; i < values.size(); ++i) dims.d[i] = constant(values[i]);
    return dims;
  }
  Arithmetic arithmetic;
};

IPluginV3* create(IPluginCreatorV3One* creator, std::vector<PluginField> fields) {
  const PluginFieldCollection collection{static_cast<int32_t>(fields.size()), fields.data()};
  return creator->createPlugin("layer", &collection, TensorRTPhase::kBUILD);
}

template <typename T>
T* capability(IPluginV3* plugin, PluginCapabilityType type) {
  return static_cast<T*>(plugin->getCapabilityInterface(type));
}

}  // namespace
