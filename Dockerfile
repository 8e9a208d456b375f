# The server as an image that holds nothing else.
#
#   docker build -t turnkey --build-arg VERSION=0.1.0 .
#   docker run --network host -v turnkey:/state turnkey
#
# docs/operations.md says why the host's network, and what can be set.

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.number=$VERSION" -o /out/turnkey ./cmd/turnkey
# So that it can bind 443 without being root, on the host's network, too. Whoever drops all
# capabilities has to add this one again: with --cap-drop ALL alone the kernel does not run it.
RUN apt-get update && apt-get install -y --no-install-recommends libcap2-bin
RUN setcap cap_net_bind_service=ep /out/turnkey
RUN mkdir -m 700 /out/state

FROM scratch
# Roots for `turnkey check https://...` and `turnkey nattest`.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# A new volume takes over the owner of this directory.
COPY --from=build --chown=65532:65532 /out/state /state
COPY --from=build /out/turnkey /turnkey
USER 65532:65532
ENV TURNKEY_STATE_DIR=/state
VOLUME /state
EXPOSE 3478/udp 3478/tcp 3479/udp 5349/udp 5349/tcp 8080/tcp 443/tcp 49160-49359/udp
STOPSIGNAL SIGTERM
# Asks HTTP, signaling, both STUN ports, and every TURN URL to relay a packet; takes some 20 ms.
HEALTHCHECK --interval=1m --timeout=20s --start-period=10s --retries=3 \
    CMD ["/turnkey", "check", "-quick"]
ENTRYPOINT ["/turnkey"]
CMD ["serve"]
