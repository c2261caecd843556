# One image for all services of docker-compose.yml, on CPU and GPU: the default torch wheel serves both.
#   docker build -t bloodsearch .
# PIP_EXTRA_ARGS goes to the installation of the dependencies, for instance the address of an index with
# CPU-only torch wheels, which saves gigabytes where there is no GPU.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# A fixed number, so that hosts can grant it access to files. Its home is there for the caches of CUDA and torch.
RUN useradd --uid 10001 --create-home bloodsearch \
    && install -d -o bloodsearch -g bloodsearch /var/lib/bloodsearch /data

WORKDIR /src

# The dependencies come first, from these two files alone: an edit of the code does not install torch again.
COPY pyproject.toml constraints.txt ./
ARG PIP_EXTRA_ARGS=""
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt ${PIP_EXTRA_ARGS}

COPY README.md LICENSE ./
COPY bloodsearch bloodsearch
COPY models models
COPY studies studies
COPY search search
RUN pip install --no-deps .

USER 10001
# Checkpoints of interrupted trials, and what commands write into the current folder.
WORKDIR /var/lib/bloodsearch
VOLUME /var/lib/bloodsearch
ENV BLOODSEARCH_CHECKPOINTS=/var/lib/bloodsearch/checkpoints \
    BLOODSEARCH_DATA=/data

ENTRYPOINT ["bloodsearch"]
CMD ["--help"]
