# ssl-sweep on CPUs.
#
#   docker build -f docker/cpu.Dockerfile -t ssl-sweep:cpu .      (in a checkout)
#   docker run --rm --shm-size 4g -v "$PWD:/work" ssl-sweep:cpu submit sweep.yaml
FROM python:3.12-slim

# torch without CUDA, which is a tenth of the size
RUN pip install --no-cache-dir "torch>=2.13,<3" "torchvision>=0.28,<1" --index-url https://download.pytorch.org/whl/cpu
COPY . /opt/ssl-sweep
RUN pip install --no-cache-dir /opt/ssl-sweep && rm -rf /opt/ssl-sweep

RUN useradd --create-home user
USER user
WORKDIR /work
ENTRYPOINT ["ssl-sweep"]
CMD ["--help"]
