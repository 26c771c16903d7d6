# syntax=docker/dockerfile:1
# All three programs, static, in an image that holds nothing else.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=none
# The number of the worker among signed releases; 0: none.
ARG RELEASE=0
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT} -X main.release=${RELEASE}" -o /out/bin/ ./cmd/...
# What the last stage needs of a file system: directories that its user may write to.
RUN mkdir -p /out/data /out/tmp && chmod 1777 /out/tmp

# Nothing below uses the network. Time zones are in the programs.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /out/data /var/lib/carillon
COPY --from=build --chown=65532:65532 /out/tmp /tmp
COPY --from=build /out/bin/ /usr/local/bin/
ENV PATH=/usr/local/bin HOME=/var/lib/carillon
USER 65532:65532
WORKDIR /var/lib/carillon
VOLUME /var/lib/carillon
EXPOSE 8420 7420
# scheduler, worker and carillon are all here; name the one to run.
CMD ["carillon", "--help"]
