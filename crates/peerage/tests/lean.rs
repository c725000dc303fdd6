//! What the features pull in.

use std::process::Command;

/// The same as `cargo tree -p peerage --no-default-features --features remote -e normal`.
#[test]
fn the_feature_remote_alone_compiles_neither_a_swarm_nor_a_database() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "-p", "peerage", "--no-default-features", "--features", "remote"])
        .args(["-e", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    let packages: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(packages.contains(&"peerage-rpc"), "{text}");
    let heavy = |name: &&&str| {
        matches!(**name, "libp2p" | "libp2p-swarm" | "redb" | "peerage-net" | "peerage-store")
            || matches!(**name, "hyper" | "jsonrpsee-server" | "rustls")
    };
    assert_eq!(packages.iter().find(heavy), None);
}
