# rtseg on an RTX card. CUDA's libraries come as wheels, the driver (R580 or later) from the host, which needs the NVIDIA
# Container Toolkit: docker build -f containers/cuda.Dockerfile -t rtseg:cuda .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/rtseg
COPY . .
RUN /opt/rtseg/bin/pip install --no-cache-dir --constraint constraints.txt '.[gpu,tensorrt,ros]'

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/rtseg /opt/rtseg
ENV PATH=/opt/rtseg/bin:$PATH \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CUPY_CACHE_DIR=/var/cache/rtseg/cupy \
    NUMBA_CACHE_DIR=/var/cache/rtseg/numba \
    RTSEG_ENGINE_CACHE=/var/cache/rtseg/engines \
    RTSEG_MODELS=/var/cache/rtseg/models \
    ROS_LOG_DIR=/tmp/ros
# Whoever runs it (--user) keeps kernels, engines and models there; engines belong to one card: give it a volume.
RUN useradd --uid 10001 --create-home rtseg && mkdir --mode 1777 /var/cache/rtseg
USER 10001
WORKDIR /data
ENTRYPOINT ["rtseg"]
CMD ["doctor", "--device", "cuda"]
