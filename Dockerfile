# Two stages: build with the pinned toolchain, run on an image without a shell as a user without rights.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --package cli && mkdir -p /out/data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/dist/ferroalloy /usr/bin/ferroalloy
COPY --from=build --chown=nonroot:nonroot /out/data /var/lib/ferroalloy
USER nonroot
EXPOSE 12345
VOLUME /var/lib/ferroalloy
ENTRYPOINT ["/usr/bin/ferroalloy"]
# Inside a container the API is of use only if it can be reached; mount the pipeline at this path.
CMD ["run", "--storage.path=/var/lib/ferroalloy", "--server.http.listen-addr=0.0.0.0:12345", "/etc/ferroalloy/config.alloy"]
