# What CI does, and what you do before a commit.

check: fmt clippy doc test deny lean

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

test:
    cargo test --workspace

deny:
    cargo deny check

# The SDK for remote use compiles neither a swarm nor a database.
lean:
    ! cargo tree -p peerage --no-default-features --features remote -e normal | grep -E 'libp2p-swarm|redb'

# The figures of the README.
bench:
    cargo run --release -q -- bench link
