# The raftbus image: one static binary that runs as nobody in particular, and an empty folder that is his.
#
#   docker build -t raftbus .                        compiles the binary in a container
#   docker build -t raftbus --target prebuilt -f Dockerfile ROOT
#                                                    takes it from the folder ROOT, which holds `raftbus` (built with
#                                                    CGO_ENABLED=0) and an empty folder `data`; pulls nothing

# What every raftbus image is, but for the binary.
FROM scratch AS image
# Nobody on the host has this id, so a mistake in a mount gives no rights. Volumes made at /data take its owner from the image.
USER 65532:65532
ENV RAFTBUS_DIR=/data
HEALTHCHECK --interval=5s --timeout=6s --start-period=10s --retries=3 CMD ["/raftbus", "health"]
ENTRYPOINT ["/raftbus"]
CMD ["node"]

FROM image AS prebuilt
COPY raftbus /raftbus
COPY --chown=65532:65532 data /data

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /out/raftbus ./cmd/raftbus && mkdir /out/data

FROM image
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/raftbus /raftbus
COPY --from=build --chown=65532:65532 /out/data /data
