# An image of the project without its tests, for CPUs; `--target test` adds them. docs/deployment.md
# says how to use it. The virtual environment lies where README's commands put it.

FROM python:3.11-slim-bookworm AS base
# The user may be any number, `--user "$(id -u):$(id -g)"`, so neither a home folder nor a name of it
# is there; caches of kernels and fonts go to HOME.
ENV PATH=/app/.venv/bin:$PATH \
    HOME=/tmp \
    USER=vd_forecasting \
    KEDRO_DISABLE_TELEMETRY=1
WORKDIR /app

FROM base AS installed
COPY constraints.txt ./
# PyTorch alone asks this index: its builds without CUDA are a tenth of the size. Where the index
# cannot be reached, pip takes what its other sources have.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN python3 -m venv .venv \
    && .venv/bin/pip install --no-cache-dir -c constraints.txt --no-deps --extra-index-url "$TORCH_INDEX" torch
# Not yet the code, so that a change of it installs nothing again.
COPY pyproject.toml README.md LICENSE ./
COPY src/vd_forecasting/__init__.py src/vd_forecasting/
ARG EXTRAS=""
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt -e ".${EXTRAS:+[$EXTRAS]}"

FROM installed AS test
RUN .venv/bin/pip install --no-cache-dir -c constraints.txt -e ".[test]"
COPY . .
CMD ["python", "-m", "pytest"]

FROM base
COPY --from=installed /app/.venv .venv
COPY pyproject.toml .telemetry ./
COPY src src
COPY conf conf
COPY --chown=1000:1000 data data
# Where kedro-viz notes how large data sets are; whoever the user is, it warns if it cannot.
RUN mkdir -m 1777 .viz
USER 1000:1000
CMD ["kedro", "run", "--pipeline", "compare_all", "--env", "quick"]
