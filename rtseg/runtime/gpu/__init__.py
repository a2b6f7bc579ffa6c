"""The path of a frame through a CUDA device: buffers, streams, captured graphs."""
