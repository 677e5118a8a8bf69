# Sluice, the server. For the load generator see producer/Dockerfile.

FROM rust:1-slim-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep the crates and what is built of them from one build of the image to the next. They are no part of the
# image, so the program is copied out of them in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package sluice --bin sluice \
    && install -d /out/data \
    && strip --strip-debug -o /out/sluice target/release/sluice

# The C library and its kin, no shell; its user `nonroot` has the ids 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/sluice /usr/local/bin/sluice
COPY --from=build --chown=65532:65532 /out/data /data

ENV SLUICE_LISTEN=0.0.0.0:8005 \
    SLUICE_DATA_DIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 8005
STOPSIGNAL SIGTERM

# A start may have a large spool to recover: until it has been healthy once, failures of the first minute do not count.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/sluice", "health"]
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["serve"]
