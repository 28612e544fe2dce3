// The callbacks of the TensorRT plugins that plugin.h declares. Creators and exported symbols are
// in creators.cpp.
#include "plugin.h"

#include <new>

namespace segnet::trt {

using nvinfer1::DataType;
using nvinfer1::DimensionOperation;
using nvinfer1::Dims;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::IDimensionExpr;
using nvinfer1::IExprBuilder;
using nvinfer1::PluginTensorDesc;

namespace {

bool kind_of(DataType type, DataKind* kind) {
  switch (type) {
    case DataType::kFLOAT: *kind = DataKind::kFloat32; return true;
    case DataType::kHALF: *kind = DataKind::kFloat16; return true;
    case DataType::kBF16: *kind = DataKind::kBFloat16; return true;
    case DataType::kINT8: *kind = DataKind::kInt8; return true;
    default: return false;
  }
}

bool layout_of(nvinfer1::TensorFormat format, Layout* layout) {
  switch (format) {
    case nvinfer1::TensorFormat::kLINEAR: *layout = Layout::kLinear; return true;
    case nvinfer1::TensorFormat::kHWC: *layout = Layout::kChannelsLast; return true;
    case nvinfer1::TensorFormat::kHWC8: *layout = Layout::kChannelsLast8; return true;
    default: return false;
  }
}

// Whether the kernels support `tensor`, and the plugin field `layout` allows it.
bool is_data(const PluginTensorDesc& tensor, int32_t field) {
  DataKind kind;
  Layout layout;
  if (!kind_of(tensor.type, &kind) || !layout_of(tensor.format, &layout)) return false;
  if (layout == Layout::kChannelsLast8)  // TensorRT defines it for 16-bit types
    return field == 0 && (kind == DataKind::kFloat16 || kind == DataKind::kBFloat16);
  return field == 0 || layout == Layout::kChannelsLast;
}

bool is_same(const PluginTensorDesc& tensor, const PluginTensorDesc& other) {
  return tensor.type == other.type && tensor.format == other.format;
}

bool is_code(const PluginTensorDesc& tensor) {
  return tensor.format == nvinfer1::TensorFormat::kLINEAR && tensor.type == DataType::kINT32;
}

// `size` divided by 2^level, rounded up or down.
const IDimensionExpr* halved(IExprBuilder& build, const IDimensionExpr* size, int32_t level,
                             bool up) {
  const auto how = up ? DimensionOperation::kCEIL_DIV : DimensionOperation::kFLOOR_DIV;
  return build.operation(how, *size, *build.constant(int64_t{1} << level));
}

PoolShape shape_of(const Dims& plane, const Dims& pooled) {
  const int64_t h = plane.d[2], w = plane.d[3];
  const bool ceil_mode = pooled.d[2] == (h + 1) / 2 && pooled.d[3] == (w + 1) / 2;
  return {plane.d[0], plane.d[1], h, w, ceil_mode};
}

template <typename T>
nvinfer1::IPluginV3* copy(const Fields& fields) noexcept {
  return new (std::nothrow) T(fields);
}

}  // namespace

nvinfer1::IPluginCapability* Plugin::getCapabilityInterface(
    nvinfer1::PluginCapabilityType type) noexcept {
  switch (type) {
    case nvinfer1::PluginCapabilityType::kCORE:
      return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    case nvinfer1::PluginCapabilityType::kBUILD:
      return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    case nvinfer1::PluginCapabilityType::kRUNTIME:
      return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
  }
  return nullptr;
}

const nvinfer1::PluginFieldCollection* Plugin::getFieldsToSerialize() noexcept {
  const auto type = nvinfer1::PluginFieldType::kINT32;
  serialized_ = {{{"height", &fields_.height, type, 1},
                  {"width", &fields_.width, type, 1},
                  {"level", &fields_.level, type, 1},
                  {"ceil_mode", &fields_.ceil_mode, type, 1},
                  {"layout", &fields_.layout, type, 1}}};
  collection_ = {static_cast<int32_t>(serialized_.size()), serialized_.data()};
  return &collection_;
}

nvinfer1::IPluginV3* PoolPlugin::clone() noexcept { return copy<PoolPlugin>(fields_); }
nvinfer1::IPluginV3* UnpoolPlugin::clone() noexcept { return copy<UnpoolPlugin>(fields_); }

int32_t PoolPlugin::getOutputDataTypes(DataType* outputs, int32_t, const DataType* inputs,
                                       int32_t) const noexcept {
  outputs[0] = inputs[0];
  outputs[1] = DataType::kINT32;
  return 0;
}

int32_t UnpoolPlugin::getOutputDataTypes(DataType* outputs, int32_t, const DataType* inputs,
                                         int32_t) const noexcept {
  outputs[0] = inputs[0];
  return 0;
}

int32_t PoolPlugin::getOutputShapes(const DimsExprs* inputs, int32_t, const DimsExprs*, int32_t,
                                    DimsExprs* outputs, int32_t, IExprBuilder& build) noexcept {
  const DimsExprs& x = inputs[0];
  if (x.nbDims != 4) return -1;
  const bool up = fields_.ceil_mode != 0;
  const auto *h = halved(build, x.d[2], 1, up), *w = halved(build, x.d[3], 1, up);
  outputs[0].nbDims = outputs[1].nbDims = 4;
  outputs[0].d[0] = outputs[1].d[0] = x.d[0];
  outputs[0].d[1] = x.d[1];
  outputs[1].d[1] = build.operation(DimensionOperation::kCEIL_DIV, *x.d[1],
                                    *build.constant(kChannelsPerWord));
  outputs[0].d[2] = outputs[1].d[2] = h;
  outputs[0].d[3] = outputs[1].d[3] = w;
  return 0;
}

int32_t UnpoolPlugin::getOutputShapes(const DimsExprs* inputs, int32_t count, const DimsExprs*,
                                      int32_t, DimsExprs* outputs, int32_t,
                                      IExprBuilder& build) noexcept {
  if (inputs[0].nbDims != 4) return -1;
  outputs[0] = inputs[0];
  const bool by_image = count == 3, up = fields_.ceil_mode != 0;
  if (!by_image && (fields_.height < 1 || fields_.width < 1)) return -1;
  outputs[0].d[2] = by_image ? halved(build, inputs[2].d[2], fields_.level, up)
                             : build.constant(fields_.height);
  outputs[0].d[3] = by_image ? halved(build, inputs[2].d[3], fields_.level, up)
                             : build.constant(fields_.width);
  return 0;
}

bool PoolPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                           int32_t, int32_t) noexcept {
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (position == 0) return is_data(tensor, fields_.layout);
  if (position == 1) return is_same(tensor, tensors[0].desc);
  return is_code(tensor);
}

bool UnpoolPlugin::supportsFormatCombination(int32_t position,
                                             const DynamicPluginTensorDesc* tensors, int32_t inputs,
                                             int32_t) noexcept {
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (position == 0) return is_data(tensor, fields_.layout);
  if (position == 1) return is_code(tensor);
  if (position == inputs) return is_same(tensor, tensors[0].desc);
  return is_data(tensor, 0);  // the image; only its size is used
}

int32_t PoolPlugin::enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc* outputs,
                            const void* const* x, void* const* y, void*,
                            cudaStream_t stream) noexcept {
  DataKind kind;
  Layout layout;
  if (!kind_of(inputs[0].type, &kind) || !layout_of(inputs[0].format, &layout)) return -1;
  const PoolShape shape = shape_of(inputs[0].dims, outputs[0].dims);
  return max_pool(shape, kind, layout, x[0], y[0], static_cast<int32_t*>(y[1]), stream);
}

int32_t UnpoolPlugin::enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc* outputs,
                              const void* const* y, void* const* x, void*,
                              cudaStream_t stream) noexcept {
  DataKind kind;
  Layout layout;
  if (!kind_of(inputs[0].type, &kind) || !layout_of(inputs[0].format, &layout)) return -1;
  const PoolShape shape = shape_of(outputs[0].dims, inputs[0].dims);
  return max_unpool(shape, kind, layout, y[0], static_cast<const int32_t*>(y[1]), x[0], stream);
}

}  // namespace segnet::trt
