# Find TensorRT's public headers (TensorRT_ROOT, system paths), or download just them where
# SEGNET_TENSORRT_TAG names a release such as release/10.3. Sets TensorRT_INCLUDE_DIR.
set(SEGNET_TENSORRT_TAG "" CACHE STRING "release of TensorRT whose headers are downloaded")
set(SEGNET_TENSORRT_URL "https://raw.githubusercontent.com/NVIDIA/TensorRT"
  CACHE STRING "where the headers are downloaded from")

find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h
  HINTS ${TensorRT_ROOT} ENV TensorRT_ROOT PATH_SUFFIXES include)

if(NOT TensorRT_INCLUDE_DIR AND SEGNET_TENSORRT_TAG)
  string(REPLACE "/" "-" folder ${SEGNET_TENSORRT_TAG})
  set(folder ${CMAKE_BINARY_DIR}/tensorrt-${folder}/include)
  foreach(header NvInferRuntime NvInferRuntimeBase NvInferRuntimeCommon NvInferRuntimePlugin
      NvInferPluginBase NvInferImpl NvInferLegacyDims NvInferVersion)
    set(url ${SEGNET_TENSORRT_URL}/${SEGNET_TENSORRT_TAG}/include/${header}.h)
    file(DOWNLOAD ${url} ${folder}/${header}.h STATUS status)
    list(GET status 0 failed)
    if(failed)
      # Not every release has every one of them; the first one is the one that matters.
      file(REMOVE ${folder}/${header}.h)
    endif()
  endforeach()
  if(EXISTS ${folder}/NvInferRuntime.h)
    set(TensorRT_INCLUDE_DIR ${folder} CACHE PATH "TensorRT headers" FORCE)
  else()
    message(STATUS "segnet-deploy: no TensorRT headers at ${SEGNET_TENSORRT_URL} "
      "for ${SEGNET_TENSORRT_TAG}")
  endif()
endif()

if(TensorRT_INCLUDE_DIR)
  message(STATUS "segnet-deploy: TensorRT headers in ${TensorRT_INCLUDE_DIR}")
else()
  message(STATUS "segnet-deploy: no TensorRT headers, the plugin is left out (give TensorRT_ROOT "
    "or SEGNET_TENSORRT_TAG=release/10.3)")
endif()
