# ssl-sweep on NVIDIA GPUs: the driver and the NVIDIA container toolkit are the host's, CUDA comes with torch.
#
#   docker build -f docker/cuda.Dockerfile -t ssl-sweep:cuda .      (in a checkout)
#   docker run --rm --gpus all --shm-size 16g -v "$PWD:/work" ssl-sweep:cuda submit sweep.yaml
#
# For nodes of a Ray cluster, whose image must have the cluster's Ray and Python, see docs/clusters/Dockerfile.
FROM python:3.12-slim

# torch.compile and Triton call a C compiler
RUN apt-get update && apt-get install --no-install-recommends -y gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY . /opt/ssl-sweep
RUN pip install --no-cache-dir /opt/ssl-sweep && rm -rf /opt/ssl-sweep

ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["ssl-sweep"]
CMD ["--help"]
