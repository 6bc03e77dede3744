# The image: the binary, the certificates of the public authorities, and nothing else to attack or to update.
# Fit for Hugging Face Spaces: port 7860, uid 1000, and with DATABASE_URL and SECRET_KEY set no disk is needed.
# scripts/check-dockerfile runs these steps as plain commands.

FROM rust:1-bookworm AS builder
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY config config
COPY migrations migrations
COPY crates crates
# A member of the workspace: cargo wants to see it, though nothing of it is built.
COPY tests tests
RUN cargo build --release --locked --bin anteroom
# The data folder, made here because the last stage has no shell.
RUN mkdir -p target/image/data

# Debian 12's C library, as in the builder; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12
COPY --from=builder /src/target/release/anteroom /usr/local/bin/anteroom
COPY --from=builder --chown=1000:1000 /src/target/image/data /data
# 0.0.0.0: only what the container's network lets in reaches it. Everything else of a deployment comes from
# outside: DATABASE_URL, SECRET_KEY (required), ANTEROOM__SERVER__PUBLIC_URL; see config/anteroom.default.toml.
ENV ANTEROOM_ENV=production HOST=0.0.0.0 PORT=7860 DATA_DIR=/data
USER 1000
WORKDIR /data
EXPOSE 7860
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/usr/local/bin/anteroom", "health"]
ENTRYPOINT ["/usr/local/bin/anteroom"]
CMD ["serve"]
