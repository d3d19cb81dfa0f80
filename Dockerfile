# Porthole in a container, beside what runs on the machine:
#
#   docker build -t porthole .
#   docker run --detach --name porthole --privileged --pid=host --cgroupns=host --network=host \
#     -v porthole-state:/var/lib/porthole porthole
#   docker exec porthole cat /run/porthole/setup-code
#
# It needs the host's PID namespace and control groups, because that is what it shows and manages. The
# state is a volume, because an overlay cannot lie on the overlay of a container's own file system.
# docs/OPERATING.md says what it cannot promise here.
ARG NODE=node:20-bookworm-slim
ARG RUST=rust:1.95-slim-bookworm
ARG BASE=debian:bookworm-slim

FROM ${NODE} AS web
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY web ./
COPY static ../static
RUN npm run build

FROM ${RUST} AS build
RUN rustup target add x86_64-unknown-linux-musl \
 && apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY server server
COPY templates templates
COPY static static
COPY tests tests
COPY --from=web /src/web web
RUN cargo build --locked --release -p porthole \
 && cargo build --locked --release -p porthole-keeper --target x86_64-unknown-linux-musl

FROM ${BASE}
RUN apt-get update && apt-get install --yes --no-install-recommends busybox-static nftables procps \
 && rm -rf /var/lib/apt/lists/*
COPY server/setup /usr/local/lib/porthole/setup
RUN /usr/local/lib/porthole/setup account
COPY --from=build /src/target/release/porthole /src/target/x86_64-unknown-linux-musl/release/porthole-keeper /usr/local/bin/
VOLUME /var/lib/porthole
ENTRYPOINT ["porthole"]
CMD ["serve"]
