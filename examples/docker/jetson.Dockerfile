# segnet-deploy on a Jetson: TensorRT engines, with the plugin compiled inside.
# Not run (26 November 2026: no Jetson at hand). Checked with hadolint; the pip step was run on
# x86-64 with nvcc 13.0 and TensorRT's headers, and installed the plugin.
#
# Build it on the Jetson, from the clone; BASE and CUDA_PYTHON by JetPack, see docs/deploy/docker.md:
#   docker build -f examples/docker/jetson.Dockerfile -t segnet-deploy:jetson .
#   docker run --rm --runtime nvidia -v "$PWD:/data" segnet-deploy:jetson \
#     segnet-build segnet.onnx -o segnet.trt --precision fp16
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0

FROM ${BASE} AS build
ARG ARCHITECTURE=87
ARG CUDA_PYTHON="cuda-python>=12.6,<13"
# hadolint ignore=DL3008 # the distribution replaces versions by security updates
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-venv python3-dev \
  && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# TensorRT's Python package is JetPack's own: --system-site-packages.
RUN python3 -m venv --system-site-packages /opt/segnet \
  && /opt/segnet/bin/pip install --no-cache-dir "${CUDA_PYTHON}" nvidia-ml-py \
    --config-settings=cmake.define.CMAKE_CUDA_ARCHITECTURES=${ARCHITECTURE} ".[camera,web]" \
  && /opt/segnet/bin/python -c "from segnet_deploy.runtimes.tensorrt.plugin_library import find_plugin; \
    print(find_plugin(required=True))"

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-gi \
    gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good \
  && rm -rf /var/lib/apt/lists/* && install -d -o 1000 /data
COPY --from=build /opt/segnet /opt/segnet
ENV PATH=/opt/segnet/bin:$PATH PYTHONUNBUFFERED=1 HOME=/data
USER 1000
WORKDIR /data
EXPOSE 8080
CMD ["segnet-doctor"]
