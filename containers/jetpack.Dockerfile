# rtseg on a Jetson with JetPack 6.1 or later (CUDA 12.6, TensorRT 10.3); build it on the device:
# docker build -f containers/jetpack.Dockerfile -t rtseg:jetpack . && docker run --runtime nvidia rtseg:jetpack doctor
FROM nvcr.io/nvidia/l4t-jetpack:r36.4.0
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-libnvinfer python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# TensorRT's Python module is the system's. Its pip is too old to know the wheels' tags.
RUN python3 -m venv --system-site-packages /opt/rtseg \
    && /opt/rtseg/bin/pip install --no-cache-dir pip==25.2
COPY . .
RUN /opt/rtseg/bin/pip install --no-cache-dir . 'cupy-cuda12x>=13' 'onnx>=1.16'
ENV PATH=/opt/rtseg/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/rtseg/numba \
    CUPY_CACHE_DIR=/var/cache/rtseg/cupy \
    RTSEG_ENGINE_CACHE=/var/cache/rtseg/engines \
    RTSEG_MODELS=/var/cache/rtseg/models
# Whoever runs it (--user) keeps kernels, engines and models there; engines belong to one module: give it a volume.
RUN useradd --uid 10001 --create-home --groups video rtseg && mkdir --mode 1777 /var/cache/rtseg
USER 10001
WORKDIR /data
ENTRYPOINT ["rtseg"]
CMD ["doctor"]
