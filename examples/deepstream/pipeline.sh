#!/bin/sh
# Not run: DeepStream needs an NVIDIA GPU. Shows the classes that nvinfer finds in a video.
#   pipeline.sh segnet_deepstream.txt drive.mp4|rtsp://camera/stream
# The configuration is the one that `segnet-export --for deepstream` writes.
set -eu
[ $# = 2 ] || { echo "usage: $0 segnet_deepstream.txt video|uri" >&2; exit 2; }
config=$1
case $2 in *://*) uri=$2 ;; *) uri=file://$(realpath "$2") ;; esac
dims=$(sed -n 's/^infer-dims=[0-9]*;//p' "$config")
height=${dims%;*} width=${dims#*;}
[ -n "$dims" ] || { echo "error: $config has no infer-dims; write it with segnet-export" >&2; exit 1; }

exec gst-launch-1.0 uridecodebin "uri=$uri" ! mux.sink_0 \
  nvstreammux name=mux batch-size=1 "width=$width" "height=$height" ! \
  nvinfer "config-file-path=$config" ! \
  nvsegvisual "width=$width" "height=$height" ! \
  nvvideoconvert ! autovideosink
