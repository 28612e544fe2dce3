// The callbacks of the TensorRT plugins that plugin.h declares. Creators and exported symbols are
// in creators.cpp.
#include "plugin.h"

#include <new>
#include <type_traits>

#include "checks.h"

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
  const IDimensionExpr* divisor = build.constant(int64_t{1} << level);
  return divisor == nullptr ? nullptr : build.operation(how, *size, *divisor);
}

PairDims dims_of(bool unpool, const PluginTensorDesc* inputs, const PluginTensorDesc* outputs) {
  if (unpool) return {outputs[0].dims, inputs[0].dims, inputs[1].dims};
  return {inputs[0].dims, outputs[0].dims, outputs[1].dims};
}

PairDims dims_of(bool unpool, const DynamicPluginTensorDesc* inputs,
                 const DynamicPluginTensorDesc* outputs) {
  if (unpool) return {outputs[0].desc.dims, inputs[0].desc.dims, inputs[1].desc.dims};
  return {inputs[0].desc.dims, outputs[0].desc.dims, outputs[1].desc.dims};
}

template <typename T>
nvinfer1::IPluginV3* copy(const Fields& fields) noexcept {
  static_assert(std::is_nothrow_constructible_v<T, const Fields&>);
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
  for (size_t i = 0; i < kFieldNames.size(); ++i)
    serialized_[i] = {kFieldNames[i].name, &(fields_.*kFieldNames[i].value),
                      nvinfer1::PluginFieldType::kINT32, 1};
  collection_ = {static_cast<int32_t>(serialized_.size()), serialized_.data()};
  return &collection_;
}

// Sizes that are known when the engine is built are checked then.
int32_t Plugin::configurePlugin(const DynamicPluginTensorDesc* inputs, int32_t input_count,
                                const DynamicPluginTensorDesc* outputs,
                                int32_t output_count) noexcept {
  if (inputs == nullptr || outputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count)) return -1;
  const PairDims dims = dims_of(unpools(), inputs, outputs);
  if (!ranks_fit(dims)) return -1;
  return has_unknown_sizes(dims) || sizes_fit(dims) ? 0 : -1;
}

int32_t Plugin::onShapeChange(const PluginTensorDesc* inputs, int32_t input_count,
                              const PluginTensorDesc* outputs, int32_t output_count) noexcept {
  if (inputs == nullptr || outputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count)) return -1;
  return sizes_fit(dims_of(unpools(), inputs, outputs)) ? 0 : -1;
}

nvinfer1::IPluginV3* PoolPlugin::clone() noexcept { return copy<PoolPlugin>(fields_); }
nvinfer1::IPluginV3* UnpoolPlugin::clone() noexcept { return copy<UnpoolPlugin>(fields_); }

int32_t PoolPlugin::getOutputDataTypes(DataType* outputs, int32_t output_count,
                                       const DataType* inputs,
                                       int32_t input_count) const noexcept {
  if (outputs == nullptr || inputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count)) return -1;
  outputs[0] = inputs[0];
  outputs[1] = DataType::kINT32;
  return 0;
}

int32_t UnpoolPlugin::getOutputDataTypes(DataType* outputs, int32_t output_count,
                                         const DataType* inputs,
                                         int32_t input_count) const noexcept {
  if (outputs == nullptr || inputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count)) return -1;
  outputs[0] = inputs[0];
  return 0;
}

int32_t PoolPlugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count, const DimsExprs*,
                                    int32_t, DimsExprs* outputs, int32_t output_count,
                                    IExprBuilder& build) noexcept {
  if (inputs == nullptr || outputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count) || !has_rank(inputs[0])) return -1;
  const DimsExprs& x = inputs[0];
  const bool up = fields_.ceil_mode != 0;
  const auto *h = halved(build, x.d[2], 1, up), *w = halved(build, x.d[3], 1, up);
  const IDimensionExpr* per_word = build.constant(kChannelsPerWord);
  if (h == nullptr || w == nullptr || per_word == nullptr) return -1;
  const auto* words = build.operation(DimensionOperation::kCEIL_DIV, *x.d[1], *per_word);
  if (words == nullptr) return -1;
  outputs[0].nbDims = outputs[1].nbDims = kRank;
  outputs[0].d[0] = outputs[1].d[0] = x.d[0];
  outputs[0].d[1] = x.d[1];
  outputs[1].d[1] = words;
  outputs[0].d[2] = outputs[1].d[2] = h;
  outputs[0].d[3] = outputs[1].d[3] = w;
  return 0;
}

int32_t UnpoolPlugin::getOutputShapes(const DimsExprs* inputs, int32_t input_count,
                                      const DimsExprs*, int32_t, DimsExprs* outputs,
                                      int32_t output_count, IExprBuilder& build) noexcept {
  if (inputs == nullptr || outputs == nullptr) return -1;
  if (!counts_fit(unpools(), input_count, output_count)) return -1;
  for (int32_t i = 0; i < input_count; ++i)
    if (!has_rank(inputs[i])) return -1;
  const bool by_image = input_count == 3, up = fields_.ceil_mode != 0;
  if (!by_image && (fields_.height < 1 || fields_.width < 1)) return -1;
  const IDimensionExpr* h = by_image ? halved(build, inputs[2].d[2], fields_.level, up)
                                     : build.constant(fields_.height);
  const IDimensionExpr* w = by_image ? halved(build, inputs[2].d[3], fields_.level, up)
                                     : build.constant(fields_.width);
  if (h == nullptr || w == nullptr) return -1;
  outputs[0] = inputs[0];
  outputs[0].d[2] = h;
  outputs[0].d[3] = w;
  return 0;
}

bool PoolPlugin::supportsFormatCombination(int32_t position, const DynamicPluginTensorDesc* tensors,
                                           int32_t inputs, int32_t outputs) noexcept {
  if (tensors == nullptr || !counts_fit(unpools(), inputs, outputs)) return false;
  if (position < 0 || position >= inputs + outputs) return false;
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (position == 0) return is_data(tensor, fields_.layout);
  if (position == 1) return is_same(tensor, tensors[0].desc);
  return is_code(tensor);
}

bool UnpoolPlugin::supportsFormatCombination(int32_t position,
                                             const DynamicPluginTensorDesc* tensors, int32_t inputs,
                                             int32_t outputs) noexcept {
  if (tensors == nullptr || !counts_fit(unpools(), inputs, outputs)) return false;
  if (position < 0 || position >= inputs + outputs) return false;
  const PluginTensorDesc& tensor = tensors[position].desc;
  if (position == 0) return is_data(tensor, fields_.layout);
  if (position == 1) return is_code(tensor);
  if (position == inputs) return is_same(tensor, tensors[0].desc);
  Layout layout;
  return layout_of(tensor.format, &layout);  // the image, of any type: only its size is read
}

// The launchers check the addresses and the product of the sizes.
int32_t PoolPlugin::enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc* outputs,
                            const void* const* x, void* const* y, void*,
                            cudaStream_t stream) noexcept {
  if (inputs == nullptr || outputs == nullptr || x == nullptr || y == nullptr) return -1;
  DataKind kind;
  Layout layout;
  if (!kind_of(inputs[0].type, &kind) || !layout_of(inputs[0].format, &layout)) return -1;
  if (!is_same(outputs[0], inputs[0]) || !is_code(outputs[1])) return -1;
  const PairDims dims = dims_of(unpools(), inputs, outputs);
  if (!sizes_fit(dims)) return -1;
  auto* codes = static_cast<int32_t*>(y[1]);
  return max_pool(shape_of(dims), kind, layout, x[0], y[0], codes, stream);
}

int32_t UnpoolPlugin::enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc* outputs,
                              const void* const* y, void* const* x, void*,
                              cudaStream_t stream) noexcept {
  if (inputs == nullptr || outputs == nullptr || x == nullptr || y == nullptr) return -1;
  DataKind kind;
  Layout layout;
  if (!kind_of(inputs[0].type, &kind) || !layout_of(inputs[0].format, &layout)) return -1;
  if (!is_same(outputs[0], inputs[0]) || !is_code(inputs[1])) return -1;
  const PairDims dims = dims_of(unpools(), inputs, outputs);
  if (!sizes_fit(dims)) return -1;
  const auto* codes = static_cast<const int32_t*>(y[1]);
  return max_unpool(shape_of(dims), kind, layout, y[0], codes, x[0], stream);
}

}  // namespace segnet::trt
