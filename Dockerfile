# The raftbus image: one static binary that runs as nobody in particular, and an empty folder that is his.
#
#   docker build -t raftbus .                        compiles the binary in a container
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=v1.2.3 -t REGISTRY/raftbus:v1.2.3 --push .
#                                                    for two architectures; compiled on this one, nothing is emulated
#   docker build -t raftbus --target prebuilt -f Dockerfile ROOT
#                                                    takes it from the folder ROOT, which holds `raftbus` (built with
#                                                    CGO_ENABLED=0) and an empty folder `data`; pulls nothing
#   docker run -e RAFTBUS_ID=n1 -p 127.0.0.1:4222:4222 raftbus dev --host 0.0.0.0
#                                                    a cluster in one container, for this host's clients: the health check has to
#                                                    know whom of it to ask
#
# All but prebuilt for the machine's own architecture needs BuildKit, which says what it builds on and for what: an ARG here without a value
# would have that of Docker 20.10 forget it.

# What every raftbus image is, but for the binary.
FROM scratch AS image
# Nobody on the host has this id, so a mistake in a mount gives no rights. Volumes made at /data take its owner from the image.
USER 65532:65532
ENV RAFTBUS_DIR=/data RAFTBUS_DEV_DIR=/data
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 CMD ["/raftbus", "health"]
ENTRYPOINT ["/raftbus"]
CMD ["node"]

FROM image AS prebuilt
COPY raftbus /raftbus
COPY --chown=65532:65532 data /data

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# The same source and version give the same binary, wherever it is built.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false -ldflags="-s -w -buildid= -X main.release=$VERSION" \
    -o /out/raftbus ./cmd/raftbus && mkdir /out/data

FROM image
ARG VERSION=
LABEL org.opencontainers.image.title=raftbus org.opencontainers.image.licenses=Apache-2.0 org.opencontainers.image.version=$VERSION
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/raftbus /raftbus
COPY --from=build --chown=65532:65532 /out/data /data
