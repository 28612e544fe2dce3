# segnet-deploy on a CPU: x86-64 or aarch64, without torch, as a user without rights.
#
#   docker build -f examples/docker/cpu.Dockerfile -t segnet-deploy .          (from the clone)
#   docker run --rm segnet-deploy                                              (segnet-doctor)
#   docker run --rm -v "$PWD:/data" segnet-deploy segnet-predict --engine segnet.onnx images -o out
#   docker run --rm -v "$PWD:/data" -p 8080:8080 segnet-deploy \
#     segnet-camera --engine segnet.onnx --source synthetic --serve 0.0.0.0:8080 --token SECRET
#
# /data is where files are read and written: it must be writable for --user, by default 1000.
# EXTRAS=onnxruntime,ncnn,openvino,camera,web adds OpenVINO.
ARG BASE=debian:trixie-slim

FROM ${BASE} AS build
# hadolint ignore=DL3008 # Debian replaces versions by security updates: pinned ones disappear
RUN apt-get update && apt-get install -y --no-install-recommends g++ python3-venv \
  && rm -rf /var/lib/apt/lists/*
ARG EXTRAS=onnxruntime,ncnn,camera,web
WORKDIR /src
COPY . .
RUN python3 -m venv /opt/segnet && /opt/segnet/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends python3 libgomp1 \
  && rm -rf /var/lib/apt/lists/* \
  && useradd --uid 1000 --create-home segnet && install -d -o segnet /data
COPY --from=build /opt/segnet /opt/segnet
ENV PATH=/opt/segnet/bin:$PATH PYTHONUNBUFFERED=1
USER 1000
WORKDIR /data
EXPOSE 8080
CMD ["segnet-doctor"]
