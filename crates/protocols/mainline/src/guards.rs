//! Which of the addresses that strangers name may be dialled, and when.
//!
//! Anyone can put anything into the DHT. So nothing is dialled that is not on the internet, that is
//! our own, or that failed within the hour, and of a lookup only so much.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use libp2p_core::{Multiaddr, multiaddr::Protocol};
use libp2p_identity::PeerId;
use peerage_types::Reach;

/// Candidates that are taken from one lookup.
pub const MAX_PER_LOOKUP: usize = 32;
/// Of them, in the same /24 (IPv6: /48).
pub const MAX_PER_PREFIX: usize = 2;
/// Failures in the same prefix within [`FAILED_TTL`], beyond which it is left alone.
pub const MAX_FAILED_PER_PREFIX: usize = 8;
/// How long what failed is not dialled again.
pub const FAILED_TTL: Duration = Duration::from_secs(3600);
/// Failures that are remembered: a dial a second for an hour is 3600. 4096 × 100 bytes = 400 KiB.
pub const MAX_FAILED: usize = 4096;
/// Between two dials.
pub const DIAL_INTERVAL: Duration = Duration::from_secs(1);

/// Someone that could be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// Whoever answers at an address.
    Address(SocketAddr),
    /// A known peer.
    Peer(PeerId),
}

/// Why a candidate is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Private, reserved or on this machine, or not in a local network of tests.
    #[error("not an address of the internet")]
    Bogon,
    /// It is ours.
    #[error("our own address")]
    Own,
    /// Already taken from this lookup.
    #[error("named twice")]
    Repeated,
    /// It failed within the hour, or too many of its neighbours did.
    #[error("failed within the hour")]
    Failed,
    /// Enough of this lookup or of this prefix.
    #[error("enough of its kind in one lookup")]
    Enough,
}

/// What was taken from one lookup.
#[derive(Debug, Default)]
pub struct Screen {
    seen: HashSet<Who>,
    prefixes: HashMap<Prefix, usize>,
    taken: usize,
}

/// The guards of a node.
#[derive(Debug)]
pub struct Guards {
    local_only: bool,
    own: HashSet<SocketAddr>,
    failed: HashMap<Who, Instant>,
    /// In the order of their time.
    failures: VecDeque<(Who, Option<Prefix>, Instant)>,
    bad_prefixes: HashMap<Prefix, usize>,
    dial_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Prefix {
    V4([u8; 3]),
    V6([u16; 3]),
}

impl Prefix {
    /// None on this machine, where tests run and all have one address.
    fn of(address: SocketAddr) -> Option<Self> {
        match address.ip() {
            ip if ip.is_loopback() => None,
            IpAddr::V4(ip) => ip.octets().first_chunk().copied().map(Self::V4),
            IpAddr::V6(ip) => ip.segments().first_chunk().copied().map(Self::V6),
        }
    }
}

impl Guards {
    /// Guards that let only addresses of the internet pass, or with `local_only` only such of this
    /// machine.
    #[must_use]
    pub fn new(local_only: bool) -> Self {
        Self {
            local_only,
            own: HashSet::new(),
            failed: HashMap::new(),
            failures: VecDeque::new(),
            bad_prefixes: HashMap::new(),
            dial_at: None,
        }
    }

    /// Tells which addresses are ours; replaces what was told before.
    pub fn on_own(&mut self, own: impl IntoIterator<Item = SocketAddr>) {
        self.own = own.into_iter().collect();
    }

    /// Whether the address of a stranger may be dialled.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn admit(
        &mut self,
        screen: &mut Screen,
        address: SocketAddr,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.check_place(&multiaddr_of(address))?;
        if address.port() == 0 {
            return Err(Refusal::Bogon);
        }
        if self.own.contains(&address) {
            return Err(Refusal::Own);
        }
        self.check_failed(&Who::Address(address), Prefix::of(address), now)?;
        screen.take(Who::Address(address), Prefix::of(address))
    }

    /// Whether a peer that signed its addresses may be dialled; leaves those that may.
    ///
    /// # Errors
    /// [`Refusal`] says why not.
    pub fn admit_peer(
        &mut self,
        screen: &mut Screen,
        peer: PeerId,
        addresses: &mut Vec<Multiaddr>,
        now: Instant,
    ) -> Result<(), Refusal> {
        addresses.retain(|address| self.is_fit(address));
        let first = addresses.first().ok_or(Refusal::Bogon)?;
        let prefix = socket_of(first).and_then(Prefix::of);
        self.check_failed(&Who::Peer(peer), prefix, now)?;
        screen.take(Who::Peer(peer), prefix)
    }

    /// Whether an address that a peer signed is one of the internet and not ours.
    #[must_use]
    pub fn is_fit(&self, address: &Multiaddr) -> bool {
        // Names are not looked up for strangers: they could point anywhere.
        let Some(socket) = socket_of(address) else { return false };
        let relayed = address.iter().any(|part| part == Protocol::P2pCircuit);
        self.check_place(address).is_ok() && (relayed || !self.own.contains(&socket))
    }

    /// It did not answer, or as something else.
    pub fn on_failed(&mut self, who: Who, now: Instant) {
        self.forget_old(now);
        if self.failures.len() >= MAX_FAILED {
            self.forget_first();
        }
        let prefix = match who {
            Who::Address(address) => Prefix::of(address),
            Who::Peer(_) => None,
        };
        if self.failed.insert(who.clone(), now).is_none() {
            if let Some(prefix) = prefix {
                *self.bad_prefixes.entry(prefix).or_default() += 1;
            }
            self.failures.push_back((who, prefix, now));
        }
    }

    /// Failures that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.failed.len()
    }

    /// Takes the turn to dial.
    ///
    /// # Errors
    /// When the next is.
    pub fn take_turn(&mut self, now: Instant) -> Result<(), Instant> {
        match self.dial_at {
            Some(at) if at > now => Err(at),
            _ => {
                self.dial_at = Some(now + DIAL_INTERVAL);
                Ok(())
            }
        }
    }

    fn check_place(&self, address: &Multiaddr) -> Result<(), Refusal> {
        let wanted = if self.local_only { Reach::Loopback } else { Reach::Global };
        if Reach::of(address) == Some(wanted) { Ok(()) } else { Err(Refusal::Bogon) }
    }

    fn check_failed(
        &mut self,
        who: &Who,
        prefix: Option<Prefix>,
        now: Instant,
    ) -> Result<(), Refusal> {
        self.forget_old(now);
        let bad = prefix.and_then(|prefix| self.bad_prefixes.get(&prefix));
        if self.failed.contains_key(who) || bad.is_some_and(|n| *n >= MAX_FAILED_PER_PREFIX) {
            return Err(Refusal::Failed);
        }
        Ok(())
    }

    fn forget_old(&mut self, now: Instant) {
        let old = |at: &Instant| now.saturating_duration_since(*at) >= FAILED_TTL;
        while self.failures.front().is_some_and(|(_, _, at)| old(at)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        let Some((who, prefix, _)) = self.failures.pop_front() else { return };
        self.failed.remove(&who);
        let Some(prefix) = prefix else { return };
        if let Some(count) = self.bad_prefixes.get_mut(&prefix) {
            *count -= 1;
            if *count == 0 {
                self.bad_prefixes.remove(&prefix);
            }
        }
    }
}

impl Screen {
    fn take(&mut self, who: Who, prefix: Option<Prefix>) -> Result<(), Refusal> {
        if self.seen.contains(&who) {
            return Err(Refusal::Repeated);
        }
        let near = prefix.map_or(0, |prefix| self.prefixes.get(&prefix).copied().unwrap_or(0));
        if self.taken >= MAX_PER_LOOKUP || near >= MAX_PER_PREFIX {
            return Err(Refusal::Enough);
        }
        self.taken += 1;
        self.seen.insert(who);
        if let Some(prefix) = prefix {
            self.prefixes.insert(prefix, near + 1);
        }
        Ok(())
    }
}

/// The host and port at the head of an address that needs no name looked up.
#[must_use]
pub fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// The part of an address that says which machine.
fn multiaddr_of(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn public(number: u32) -> SocketAddr {
        let [a, b, c, d] = (0x0b00_0000 + number).to_be_bytes();
        SocketAddr::from(([a, b, c, d], 4001))
    }

    fn admit(guards: &mut Guards, screen: &mut Screen, address: &str) -> Result<(), Refusal> {
        guards.admit(screen, address.parse().expect("an address"), Instant::now())
    }

    #[test]
    fn only_addresses_of_the_internet_pass() {
        let mut guards = Guards::new(false);
        for (address, expected) in [
            ("11.1.2.3:4001", Ok(())),
            ("[2a00::1]:4001", Ok(())),
            ("11.1.9.3:0", Err(Refusal::Bogon)),
            ("0.0.0.0:4001", Err(Refusal::Bogon)),
            ("10.0.0.1:4001", Err(Refusal::Bogon)),
            ("127.0.0.1:4001", Err(Refusal::Bogon)),
            ("169.254.1.1:4001", Err(Refusal::Bogon)),
            ("172.20.0.1:4001", Err(Refusal::Bogon)),
            ("192.168.1.1:4001", Err(Refusal::Bogon)),
            ("100.64.0.1:4001", Err(Refusal::Bogon)),
            ("224.0.0.1:4001", Err(Refusal::Bogon)),
            ("255.255.255.255:4001", Err(Refusal::Bogon)),
            ("[::1]:4001", Err(Refusal::Bogon)),
            ("[fe80::1]:4001", Err(Refusal::Bogon)),
            ("[fc00::1]:4001", Err(Refusal::Bogon)),
            ("[::ffff:10.0.0.1]:4001", Err(Refusal::Bogon)),
        ] {
            let got = admit(&mut guards, &mut Screen::default(), address);
            assert_eq!(got, expected, "{address}");
        }
    }

    #[test]
    fn a_network_of_tests_is_this_machine_and_nothing_else() {
        let mut guards = Guards::new(true);
        let screen = &mut Screen::default();
        assert_eq!(admit(&mut guards, screen, "127.0.0.1:4001"), Ok(()));
        assert_eq!(admit(&mut guards, screen, "11.1.2.3:4001"), Err(Refusal::Bogon));
        assert_eq!(admit(&mut guards, screen, "192.168.1.1:4001"), Err(Refusal::Bogon));
    }

    #[test]
    fn our_own_address_is_refused_and_our_neighbour_is_not() {
        let mut guards = Guards::new(false);
        guards.on_own([public(1)]);
        let screen = &mut Screen::default();
        assert_eq!(guards.admit(screen, public(1), Instant::now()), Err(Refusal::Own));
        let neighbour = SocketAddr::new(public(1).ip(), 4002);
        assert_eq!(guards.admit(screen, neighbour, Instant::now()), Ok(()));
    }

    #[test]
    fn of_a_lookup_32_pass_and_of_a_prefix_two() {
        let mut guards = Guards::new(false);
        let now = Instant::now();
        let screen = &mut Screen::default();
        let same = (0..50).filter(|n| guards.admit(screen, public(*n), now).is_ok()).count();
        assert_eq!(same, 2);
        let far = (1..5000).filter(|n| guards.admit(screen, public(n << 8), now).is_ok()).count();
        assert_eq!(same + far, 32);
        assert_eq!(guards.admit(screen, public(0), now), Err(Refusal::Repeated));
    }

    #[test]
    fn v6_prefixes_are_48_bits() {
        let mut guards = Guards::new(false);
        let screen = &mut Screen::default();
        assert_eq!(admit(&mut guards, screen, "[2a00:0:1:1::1]:1"), Ok(()));
        assert_eq!(admit(&mut guards, screen, "[2a00:0:1:2::1]:1"), Ok(()));
        assert_eq!(admit(&mut guards, screen, "[2a00:0:1:3::1]:1"), Err(Refusal::Enough));
        assert_eq!(admit(&mut guards, screen, "[2a00:0:2:1::1]:1"), Ok(()));
    }

    #[test]
    fn what_failed_is_left_alone_for_an_hour() {
        let mut guards = Guards::new(false);
        let now = Instant::now();
        guards.on_failed(Who::Address(public(1)), now);
        let mut admit = |at| guards.admit(&mut Screen::default(), public(1), at);
        assert_eq!(admit(now + FAILED_TTL / 2), Err(Refusal::Failed));
        assert_eq!(admit(now + FAILED_TTL), Ok(()));
    }

    #[test]
    fn a_prefix_where_eight_failed_is_left_alone_whatever_the_port() {
        let mut guards = Guards::new(false);
        let now = Instant::now();
        for port in 1..=8 {
            guards.on_failed(Who::Address(SocketAddr::new(public(1).ip(), port)), now);
        }
        let screen = &mut Screen::default();
        assert_eq!(guards.admit(screen, public(2), now), Err(Refusal::Failed));
        assert_eq!(guards.admit(screen, public(0x100), now), Ok(()));
        assert_eq!(guards.admit(screen, public(2), now + FAILED_TTL), Ok(()));
    }

    #[test]
    fn failures_are_remembered_up_to_a_bound_and_forgotten_whole() {
        let mut guards = Guards::new(false);
        let now = Instant::now();
        for number in 0..10_000 {
            guards.on_failed(Who::Address(public(number)), now);
        }
        assert_eq!(guards.remembered(), MAX_FAILED);
        assert!(guards.bad_prefixes.len() <= MAX_FAILED);
        guards.forget_old(now + FAILED_TTL);
        assert_eq!((guards.remembered(), guards.bad_prefixes.len()), (0, 0));
    }

    #[test]
    fn one_dial_a_second() {
        let mut guards = Guards::new(false);
        let now = Instant::now();
        assert_eq!(guards.take_turn(now), Ok(()));
        assert_eq!(guards.take_turn(now), Err(now + DIAL_INTERVAL));
        assert_eq!(guards.take_turn(now + DIAL_INTERVAL), Ok(()));
    }

    #[test]
    fn of_what_a_peer_signed_only_public_addresses_and_relays_are_left() {
        let mut guards = Guards::new(false);
        guards.on_own([public(9)]);
        let peer = PeerId::random();
        let relay = format!("/ip4/11.0.0.9/tcp/4001/p2p/{peer}/p2p-circuit");
        let lan_relay = format!("/ip4/10.0.0.9/tcp/4001/p2p/{peer}/p2p-circuit");
        let all = ["/ip4/11.0.0.9/tcp/4001", "/ip4/192.168.0.1/tcp/1", "/dns4/evil.test/tcp/1"];
        let mut addresses: Vec<Multiaddr> = all
            .iter()
            .copied()
            .chain([&*relay, &*lan_relay])
            .map(|text| text.parse().expect("an address"))
            .collect();
        let now = Instant::now();
        let screen = &mut Screen::default();
        assert_eq!(guards.admit_peer(screen, peer, &mut addresses, now), Ok(()));
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), [relay]);
        assert_eq!(guards.admit_peer(screen, peer, &mut Vec::new(), now), Err(Refusal::Bogon));
    }
}
