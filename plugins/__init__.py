"""TResNet's own operators: one a file, with reference, ONNX function and kernel."""
