//! What commonly keeps a node from being found and reached, with remedies.

use std::path::Path;

use peerage_api::node::{Check, Verdict};
use peerage_mainline::Health;
use peerage_store::StoreStats;

use crate::{driver::Driver, lan, stack::Stack};

/// Looks at the node and says what is wrong with it.
pub(crate) fn examine(driver: &mut Driver) -> Vec<Check> {
    let status = driver.status();
    let store = driver.store.stats();
    let stack: &mut Stack = driver.swarm.behaviour_mut();
    let mdns = stack.mdns4.is_enabled() || stack.mdns6.is_enabled();
    let kad_peers = stack
        .kad
        .as_mut()
        .map(|kad| kad.kbuckets().map(|bucket| bucket.num_entries()).sum::<usize>());
    let bridge = stack.mainline.as_ref().map(|bridge| bridge.health());
    let listen = status.listen.iter();
    let (loopback, others): (Vec<_>, Vec<_>) = listen.partition(|a| is_loopback(a));
    let missing = stack.peers.missing();
    let quic = status.listen.iter().any(|a| a.to_string().contains("/quic-v1"));
    vec![
        listening(loopback.len(), others.len()),
        transports(quic, status.network_key),
        peers(
            status.peers,
            !driver.settings.bootstrap.is_empty() || mdns,
            bridge.is_some_and(|health| health.is_up),
        ),
        kept(&missing),
        local_discovery(mdns, driver.settings.mdns),
        dht(kad_peers),
        mainline(bridge, driver.settings.mainline),
        reachability(&status.external, driver.settings.local_only),
        storage(status.data.as_os_str().is_empty(), &store, status.kept_aside.as_deref()),
        memory(status.rss_bytes, driver.settings.max_memory_bytes as u64),
    ]
}

fn is_loopback(address: &libp2p::Multiaddr) -> bool {
    let text = address.to_string();
    text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
}

fn check(name: &str, verdict: Verdict, detail: impl Into<String>, remedy: &str) -> Check {
    Check { name: name.into(), verdict, detail: detail.into(), remedy: remedy.into() }
}

fn listening(loopback: usize, others: usize) -> Check {
    let remedy = "start with --listen /ip4/0.0.0.0/tcp/0, or without --listen";
    match (loopback, others) {
        (0, 0) => check("listening", Verdict::Fail, "on no address", remedy),
        (n, 0) => {
            let detail = format!("on {n} loopback addresses only; other machines cannot connect");
            check("listening", Verdict::Warn, detail, remedy)
        }
        (_, n) => check("listening", Verdict::Ok, format!("on {n} addresses of this machine"), ""),
    }
}

fn transports(quic: bool, network_key: bool) -> Check {
    match (quic, network_key) {
        (_, true) => {
            check("transports", Verdict::Ok, "TCP only: the network key does not go over QUIC", "")
        }
        (true, false) => check("transports", Verdict::Ok, "TCP and QUIC", ""),
        (false, false) => {
            let remedy = "add --listen /ip4/0.0.0.0/udp/0/quic-v1: QUIC gets through more NATs";
            check("transports", Verdict::Warn, "QUIC is not listened on", remedy)
        }
    }
}

fn peers(connected: usize, comes: bool, mainline: bool) -> Check {
    match (connected, comes) {
        (0, false) if mainline => {
            let remedy = "announce the same namespace here and elsewhere: `peerage announce NAME`";
            check("peers", Verdict::Warn, "nobody is connected yet", remedy)
        }
        (0, true) => {
            let remedy =
                "see that another node of the network runs, and its address and network name";
            check("peers", Verdict::Fail, "nobody is connected", remedy)
        }
        (0, false) => {
            let remedy = "name a node with --bootstrap ADDRESS or `peerage connect ADDRESS`";
            check(
                "peers",
                Verdict::Fail,
                "nobody is connected and there is no way to find anyone",
                remedy,
            )
        }
        (n, _) => check("peers", Verdict::Ok, format!("{n} connected"), ""),
    }
}

fn kept(missing: &[String]) -> Check {
    let name = "kept peers";
    let remedy = "see that they run, at that address and in the same network, and that they have \
                  not blocked this node; they are dialled again";
    match missing {
        [] => check(name, Verdict::Ok, "all bootstrap and protected peers are connected", ""),
        [one] => check(name, Verdict::Warn, format!("not connected: {one}"), remedy),
        [one, rest @ ..] => {
            let detail = format!("not connected: {one} and {} more", rest.len());
            check(name, Verdict::Warn, detail, remedy)
        }
    }
}

fn local_discovery(runs: bool, wanted: bool) -> Check {
    match (runs, wanted) {
        (true, _) => check("mdns", Verdict::Ok, "looks for peers on the local network", ""),
        (false, false) => check("mdns", Verdict::Ok, "switched off", ""),
        (false, true) => {
            let remedy = "see that UDP port 5353 and multicast are permitted on this machine";
            check("mdns", Verdict::Warn, "cannot run here", remedy)
        }
    }
}

fn dht(peers: Option<usize>) -> Check {
    match peers {
        None => check("kademlia", Verdict::Ok, "switched off", ""),
        Some(0) => {
            let remedy =
                "connect to a node that serves the DHT, such as one with --profile bootstrap";
            check("kademlia", Verdict::Warn, "no peer in the routing table", remedy)
        }
        Some(n) => check("kademlia", Verdict::Ok, format!("{n} peers in the routing table"), ""),
    }
}

/// With fewer nodes of the BitTorrent DHT hardly anything is found there.
const FEW_NODES: usize = 3;

fn mainline(health: Option<Health>, wanted: bool) -> Check {
    match health {
        None if wanted => {
            check("mainline", Verdict::Ok, "not used: local networks only, as asked", "")
        }
        None => check("mainline", Verdict::Ok, "switched off", ""),
        Some(health) if health.is_up => {
            let seen = health.seen_as.map(|at| format!("; seen as {at}")).unwrap_or_default();
            let detail = match health.nodes {
                1 => format!("1 node of the BitTorrent DHT{seen}"),
                n => format!("{n} nodes of the BitTorrent DHT{seen}"),
            };
            let remedy = "name more of its nodes with --mainline-bootstrap";
            match health.nodes < FEW_NODES {
                true => check("mainline", Verdict::Warn, detail, remedy),
                false => check("mainline", Verdict::Ok, detail, ""),
            }
        }
        Some(_) => {
            let remedy = "see that UDP to the internet is permitted, or name a node with \
                          --mainline-bootstrap; --no-mainline does without";
            check("mainline", Verdict::Warn, "no node of the BitTorrent DHT answers", remedy)
        }
    }
}

fn reachability(external: &[libp2p::Multiaddr], local_only: bool) -> Check {
    let public = external.iter().filter(|a| !lan::is_local(a)).count();
    match (public, local_only) {
        (_, true) => check("reachability", Verdict::Ok, "local networks only, as asked", ""),
        (0, false) => {
            let remedy = "if a port is forwarded to this machine, name it with --external ADDRESS";
            let detail = "no external address is known; nodes elsewhere may not get through";
            check("reachability", Verdict::Warn, detail, remedy)
        }
        (n, false) => check("reachability", Verdict::Ok, format!("{n} external addresses"), ""),
    }
}

fn storage(none: bool, store: &StoreStats, kept_aside: Option<&Path>) -> Check {
    let disk = "see whether the disk is slow, full or failing; the log says what it answered";
    match (none, store) {
        (true, _) => check(
            "store",
            Verdict::Warn,
            "nothing is kept",
            "start with --data DIR to keep identity and peers",
        ),
        (false, StoreStats { failing: true, failures, .. }) => {
            check("store", Verdict::Fail, format!("takes no writes; {failures} failed"), disk)
        }
        (false, StoreStats { queued: 101.., .. }) => {
            let detail = format!("{} writes wait for the disk", store.queued);
            check("store", Verdict::Warn, detail, disk)
        }
        (false, StoreStats { failures: 1.., .. }) => {
            let detail = format!("open again; {} writes have failed", store.failures);
            check("store", Verdict::Warn, detail, disk)
        }
        (false, _) => match kept_aside {
            None => {
                let size = store.file_bytes as f64 / 1e6;
                check("store", Verdict::Ok, format!("open, a file of {size:.1} MB"), "")
            }
            Some(kept) => {
                let detail = format!(
                    "began empty: a damaged one, with users and all else, is kept as {}",
                    kept.display()
                );
                let remedy = "restore a backup, or import your users; then delete the kept file";
                check("store", Verdict::Warn, detail, remedy)
            }
        },
    }
}

fn memory(resident: u64, limit: u64) -> Check {
    let detail = format!("{} of at most {} MB", resident / 1_000_000, limit / 1_000_000);
    if resident >= limit {
        let remedy = "raise limits.max_memory_mb or lower limits.max_peers";
        return check(
            "memory",
            Verdict::Fail,
            format!("{detail}; new connections are refused"),
            remedy,
        );
    }
    check("memory", Verdict::Ok, detail, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_takes_no_writes_fails_the_check_until_it_takes_them_again() {
        let mut stats = StoreStats::default();
        stats.file_bytes = 134_700_000;
        let well = storage(false, &stats, None);
        assert_eq!((well.verdict, well.detail), (Verdict::Ok, "open, a file of 134.7 MB".into()));
        (stats.failing, stats.failures, stats.queued) = (true, 3, 500);
        let failing = storage(false, &stats, None);
        assert_eq!(failing.verdict, Verdict::Fail);
        assert!(failing.detail.contains('3') && !failing.remedy.is_empty());
        stats.failing = false;
        assert_eq!(storage(false, &stats, None).verdict, Verdict::Warn);
        stats.queued = 0;
        assert_eq!(storage(false, &stats, None).verdict, Verdict::Warn);
    }

    #[test]
    fn a_store_that_was_set_aside_is_told_of_until_its_file_is_gone() {
        let kept = Path::new("/data/peerage.redb.corrupt-17");
        let check = storage(false, &StoreStats::default(), Some(kept));
        assert_eq!(check.verdict, Verdict::Warn);
        assert!(check.detail.contains("corrupt-17") && check.remedy.contains("backup"));
    }
}
