# docker build -t autoft .
# docker run --rm -v "$PWD:/home/autoft/work" autoft search --model resnet18 --data photos --time-budget 10m

FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir build && python -m build --wheel --outdir /wheels

FROM python:3.11-slim AS install
COPY --from=build /wheels /wheels
RUN python -m venv /opt/autoft && /opt/autoft/bin/pip install --no-cache-dir "$(ls /wheels/*.whl)[demo]"

FROM python:3.11-slim
RUN useradd --create-home --uid 1000 autoft && mkdir /home/autoft/work && chown autoft:autoft /home/autoft/work
COPY --from=install /opt/autoft /opt/autoft
ENV PATH=/opt/autoft/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAY_USAGE_STATS_ENABLED=0
USER autoft
WORKDIR /home/autoft/work
ENTRYPOINT ["autoft"]
CMD ["--help"]
