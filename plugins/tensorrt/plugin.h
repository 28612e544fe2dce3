// The two IPluginV3 classes, implemented in plugin.cpp. Names, fields and shapes are those of
// segnet_deploy/passes/contract.json.
#pragma once

#include <NvInferRuntime.h>

#include <array>
#include <cstdint>

#include "segnet/cuda_kernels.h"

namespace segnet::trt {

inline constexpr const char* kVersion = "1";
inline constexpr const char* kNamespace = "segnet";
inline constexpr const char* kPoolName = "SegNetMaxPool";
inline constexpr const char* kUnpoolName = "SegNetMaxUnpool";

// The serialised fields of both plugins; a pool uses ceil_mode and layout only. layout 0 allows
// every layout that the kernels support, 1 only channels last.
struct Fields {
  int32_t height = 0, width = 0, level = 0, ceil_mode = 1, layout = 0;
};

// The fields by name. Values are from 0 to `largest`; level is a number of bits to shift by.
struct FieldName {
  const char* name;
  int32_t Fields::*value;
  int32_t largest;
};
inline constexpr std::array<FieldName, 5> kFieldNames = {{{"height", &Fields::height, INT32_MAX},
                                                          {"width", &Fields::width, INT32_MAX},
                                                          {"level", &Fields::level, 30},
                                                          {"ceil_mode", &Fields::ceil_mode, 1},
                                                          {"layout", &Fields::layout, 1}}};

// The base class of both plugins, with the capabilities core, build and runtime. Callbacks return
// an error for arguments that do not fit (checks.h). None of them throws: the only allocations are
// those of the plugins, by new (std::nothrow).
class Plugin : public nvinfer1::IPluginV3,
               public nvinfer1::IPluginV3OneCore,
               public nvinfer1::IPluginV3OneBuild,
               public nvinfer1::IPluginV3OneRuntime {
 public:
  explicit Plugin(const Fields& fields) noexcept : fields_(fields) {}

  nvinfer1::IPluginCapability* getCapabilityInterface(
      nvinfer1::PluginCapabilityType type) noexcept override;
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }
  int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc*, int32_t,
                          const nvinfer1::DynamicPluginTensorDesc*, int32_t) noexcept override;
  int32_t onShapeChange(const nvinfer1::PluginTensorDesc*, int32_t,
                        const nvinfer1::PluginTensorDesc*, int32_t) noexcept override;
  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override {
    return clone();
  }
  const nvinfer1::PluginFieldCollection* getFieldsToSerialize() noexcept override;

 protected:
  virtual bool unpools() const noexcept = 0;
  Fields fields_;

 private:
  std::array<nvinfer1::PluginField, kFieldNames.size()> serialized_;
  nvinfer1::PluginFieldCollection collection_{};
};

class PoolPlugin final : public Plugin {
 public:
  using Plugin::Plugin;
  nvinfer1::IPluginV3* clone() noexcept override;
  const char* getPluginName() const noexcept override { return kPoolName; }
  int32_t getNbOutputs() const noexcept override { return 2; }
  int32_t getOutputDataTypes(nvinfer1::DataType*, int32_t, const nvinfer1::DataType*,
                             int32_t) const noexcept override;
  int32_t getOutputShapes(const nvinfer1::DimsExprs*, int32_t, const nvinfer1::DimsExprs*, int32_t,
                          nvinfer1::DimsExprs*, int32_t, nvinfer1::IExprBuilder&) noexcept override;
  bool supportsFormatCombination(int32_t, const nvinfer1::DynamicPluginTensorDesc*, int32_t,
                                 int32_t) noexcept override;
  int32_t enqueue(const nvinfer1::PluginTensorDesc*, const nvinfer1::PluginTensorDesc*,
                  const void* const*, void* const*, void*, cudaStream_t) noexcept override;

 protected:
  bool unpools() const noexcept override { return false; }
};

class UnpoolPlugin final : public Plugin {
 public:
  using Plugin::Plugin;
  nvinfer1::IPluginV3* clone() noexcept override;
  const char* getPluginName() const noexcept override { return kUnpoolName; }
  int32_t getNbOutputs() const noexcept override { return 1; }
  int32_t getOutputDataTypes(nvinfer1::DataType*, int32_t, const nvinfer1::DataType*,
                             int32_t) const noexcept override;
  int32_t getOutputShapes(const nvinfer1::DimsExprs*, int32_t, const nvinfer1::DimsExprs*, int32_t,
                          nvinfer1::DimsExprs*, int32_t, nvinfer1::IExprBuilder&) noexcept override;
  bool supportsFormatCombination(int32_t, const nvinfer1::DynamicPluginTensorDesc*, int32_t,
                                 int32_t) noexcept override;
  int32_t enqueue(const nvinfer1::PluginTensorDesc*, const nvinfer1::PluginTensorDesc*,
                  const void* const*, void* const*, void*, cudaStream_t) noexcept override;

 protected:
  bool unpools() const noexcept override { return true; }
};

}  // namespace segnet::trt
