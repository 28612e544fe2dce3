"""The runtimes by name; light, so that every command can list them in its --help."""

# Fastest first, by measurements of the full SegNet in fp32 on CPUs.
RUNTIMES = {
    "ncnn": "segnet_deploy.runtimes.ncnn.engine",
    "openvino": "segnet_deploy.runtimes.openvino",
    "onnxruntime": "segnet_deploy.runtimes.onnxruntime",
}
CHOICES = ("auto", *RUNTIMES)
# Their Winograd convolutions part ties at the edges of flat areas (docs/runtimes.md).
WINOGRAD = ("ncnn",)
