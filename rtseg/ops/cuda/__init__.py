"""CUDA kernels of the array primitives, in plans with fixed buffers that a CUDA graph captures.

A plan neither waits for the device nor allocates once it is made; what went wrong it writes to a status. Importing
these modules needs no GPU; CuPy is imported when a plan is made.
"""
