"""Read a Caffe net without Caffe: prototxt and caffemodel -> ONNX.

wire             the fields of a protobuf message
caffemodel       the weights of each layer, from the binary file
prototxt         protobuf's text format
net              the layers of an inference net, in order
layers           one function per layer type; convolutions, pools, normalisations and others
build_model      a net and its weights -> an ONNX model
bn_statistics    statistics of batch normalisation, computed from images
training_signs   what tells a training snapshot from a finished model
convert_caffe    the files in, a checked ONNX file out
"""
