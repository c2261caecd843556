# One image for all services of docker-compose.yml. The default torch wheel runs on CPU and GPU.
#   docker build -t bloodsearch .
# PIP_EXTRA_ARGS is passed to pip when it installs the dependencies. An index with CPU-only torch wheels saves
# gigabytes on a machine without a GPU.
FROM python:3.12-slim

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

# The user id is fixed: hosts can grant it access to files. CUDA and torch keep caches in its home.
RUN useradd --uid 10001 --create-home bloodsearch \
    && install -d -o bloodsearch -g bloodsearch /var/lib/bloodsearch /data

WORKDIR /src

# The dependencies come first and need only these two files. An edit of the code does not install torch again.
COPY pyproject.toml constraints.txt ./
ARG PIP_EXTRA_ARGS=""
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install -c constraints.txt -r requirements.txt ${PIP_EXTRA_ARGS}

COPY README.md LICENSE setup.py ./
COPY bloodsearch bloodsearch
COPY models models
COPY studies studies
COPY search search
RUN pip install --no-deps .

USER 10001
# Holds the checkpoints of interrupted trials and the files that commands write into the current folder.
WORKDIR /var/lib/bloodsearch
VOLUME /var/lib/bloodsearch
ENV BLOODSEARCH_CHECKPOINTS=/var/lib/bloodsearch/checkpoints \
    BLOODSEARCH_DATA=/data

ENTRYPOINT ["bloodsearch"]
CMD ["--help"]
