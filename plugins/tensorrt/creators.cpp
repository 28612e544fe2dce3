// The plugins' creators, and the two symbols that TensorRT looks up in a plugin library. The
// plugins are in plugin.cpp.
#include <cstring>
#include <new>

#include "plugin.h"
#include "segnet/export.h"

namespace segnet::trt {
namespace {

using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;

// Reads an integer of 32 bits (a deserialised plugin) or 64 bits (an ONNX attribute).
bool read(const PluginField& field, int32_t* value) {
  if (field.data == nullptr || field.length < 1) return false;
  if (field.type == nvinfer1::PluginFieldType::kINT32) {
    *value = *static_cast<const int32_t*>(field.data);
    return true;
  }
  if (field.type == nvinfer1::PluginFieldType::kINT64) {
    *value = static_cast<int32_t>(*static_cast<const int64_t*>(field.data));
    return true;
  }
  return false;
}

template <typename T>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(const char* name) : name_(name) {
    const auto type = nvinfer1::PluginFieldType::kINT32;
    fields_ = {{{"height", nullptr, type, 1},
                {"width", nullptr, type, 1},
                {"level", nullptr, type, 1},
                {"ceil_mode", nullptr, type, 1},
                {"layout", nullptr, type, 1}}};
    collection_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }

  nvinfer1::IPluginV3* createPlugin(const char*, const PluginFieldCollection* passed,
                                    nvinfer1::TensorRTPhase) noexcept override {
    Fields fields;
    for (int32_t i = 0; passed != nullptr && i < passed->nbFields; ++i) {
      const PluginField& field = passed->fields[i];
      const struct {
        const char* name;
        int32_t* value;
      } known[] = {{"height", &fields.height},
                   {"width", &fields.width},
                   {"level", &fields.level},
                   {"ceil_mode", &fields.ceil_mode},
                   {"layout", &fields.layout}};
      for (const auto& entry : known)
        if (std::strcmp(field.name, entry.name) == 0 && !read(field, entry.value)) return nullptr;
    }
    return new (std::nothrow) T(fields);
  }
  const PluginFieldCollection* getFieldNames() noexcept override { return &collection_; }
  const char* getPluginName() const noexcept override { return name_; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  const char* name_;
  std::array<PluginField, 5> fields_;
  PluginFieldCollection collection_{};
};

}  // namespace
}  // namespace segnet::trt

// TensorRT calls this when it loads the library. The creators are never freed.
SEGNET_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
  static segnet::trt::Creator<segnet::trt::PoolPlugin> pool(segnet::trt::kPoolName);
  static segnet::trt::Creator<segnet::trt::UnpoolPlugin> unpool(segnet::trt::kUnpoolName);
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&pool, &unpool};
  count = 2;
  return creators;
}

// TensorRT requires this symbol. The finder is not used: its layout changed in TensorRT 11.
SEGNET_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder*) {}
