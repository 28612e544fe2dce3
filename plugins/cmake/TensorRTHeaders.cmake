# Sets TensorRT_INCLUDE_DIR, or leaves it false: TensorRT's public headers in TensorRT_ROOT or on a
# system path; else those of the release SEGNET_TENSORRT_TAG, such as release/10.3, downloaded.
set(SEGNET_TENSORRT_TAG "" CACHE STRING "TensorRT release whose headers are downloaded")
set(SEGNET_TENSORRT_URL "https://raw.githubusercontent.com/NVIDIA/TensorRT"
  CACHE STRING "URL that the headers are downloaded from")

find_path(TensorRT_INCLUDE_DIR NvInferRuntime.h
  HINTS ${TensorRT_ROOT} ENV TensorRT_ROOT PATH_SUFFIXES include)

set(missing "no TensorRT headers")
if(NOT TensorRT_INCLUDE_DIR AND SEGNET_TENSORRT_TAG)
  string(REPLACE "/" "-" folder ${SEGNET_TENSORRT_TAG})
  set(folder ${CMAKE_BINARY_DIR}/tensorrt-${folder}/include)
  foreach(header NvInferRuntime NvInferRuntimeBase NvInferRuntimeCommon NvInferRuntimePlugin
      NvInferPluginBase NvInferImpl NvInferLegacyDims NvInferVersion)
    set(url ${SEGNET_TENSORRT_URL}/${SEGNET_TENSORRT_TAG}/include/${header}.h)
    file(DOWNLOAD ${url} ${folder}/${header}.h STATUS status)
    list(GET status 0 failed)
    if(failed)
      # Releases differ in their headers; only NvInferRuntime.h is in all of them.
      file(REMOVE ${folder}/${header}.h)
    endif()
  endforeach()
  if(EXISTS ${folder}/NvInferRuntime.h)
    set(TensorRT_INCLUDE_DIR ${folder} CACHE PATH "TensorRT headers" FORCE)
  else()
    set(missing "no TensorRT headers for ${SEGNET_TENSORRT_TAG} at ${SEGNET_TENSORRT_URL}")
  endif()
endif()

if(TensorRT_INCLUDE_DIR)
  message(STATUS "segnet-deploy: TensorRT headers in ${TensorRT_INCLUDE_DIR}")
else()
  message(STATUS "segnet-deploy: ${missing}, skipping the TensorRT plugin (set TensorRT_ROOT, "
    "or SEGNET_TENSORRT_TAG=release/10.3)")
endif()
