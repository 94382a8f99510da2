# docker build -t autoft .
# docker run --rm --gpus all --shm-size=1g -v "$PWD:/home/autoft/work" autoft search --model resnet18 --data photos --time-budget 10m
# The same image is head and worker of a cluster, see examples/cluster.

# torch's wheels carry CUDA, so a GPU needs the host's driver and no CUDA base image; any base with this Python will do.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM ${BASE} AS install
COPY --from=build /wheels /wheels
RUN python -m venv /opt/autoft \
    && /opt/autoft/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[cluster,demo,postgres]"

FROM ${BASE}
# rsync is asked for by `ray up`, wget by the probes of KubeRay. Login shells forget PATH, so the programs are linked.
RUN apt-get update \
    && apt-get install -y --no-install-recommends rsync wget \
    && rm -rf /var/lib/apt/lists/* \
    && ln -s /opt/autoft/bin/autoft /opt/autoft/bin/ray /usr/local/bin/ \
    && useradd --create-home --uid 1000 autoft \
    && mkdir /home/autoft/work /runs \
    && chown autoft:autoft /home/autoft/work /runs
COPY --from=install /opt/autoft /opt/autoft
ENV PATH=/opt/autoft/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_AUTH_MODE=token \
    RAY_USAGE_STATS_ENABLED=0 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER autoft
WORKDIR /home/autoft/work
ENTRYPOINT ["autoft"]
CMD ["--help"]
