"""From a trained network to a file the runtime loads: ONNX export and quantization."""
