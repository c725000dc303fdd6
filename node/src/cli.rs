//! The command line: one tree that parsing, help, completions and man pages come from.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    bench,
    commands::{
        config, contacts, discovery, exchange, files, kv, man, peers, pubsub, services, storage,
        users, who,
    },
    config::Flags,
    output::Output,
};

/// Nodes that find each other, stay connected and talk, without servers.
#[derive(Debug, Parser)]
#[command(
    name = "peerage",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  peerage up                           run a node here; end it with ctrl-C
  peerage status                       from another shell: how it fares
  peerage connect /ip4/192.0.2.7/tcp/4001
  peerage sub news                     and elsewhere: peerage pub news 'hello'
  peerage share photos                 and elsewhere: peerage get TICKET
  peerage demo                         see three nodes talk, without any setup

Exit codes: 0 done, 1 failed, 2 usage, 3 no daemon running, 4 timed out, 5 refused by the
other side, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The way to speak; lines of events are JSON.
    pub(crate) fn output(&self) -> Output {
        let events = match &self.command {
            Command::Client(Client::Send(args)) => args.going.events,
            Command::Client(Client::Get(args)) => args.going.events,
            _ => false,
        };
        Output { json: self.global.json || events, quiet: self.global.quiet }
    }
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Data directory of the node [default: the XDG data directory]
    #[arg(long, global = true, value_name = "DIR", env = "PEERAGE_DATA", hide_env_values = true)]
    pub(crate) data: Option<PathBuf>,
    /// Configuration file [default: peerage/config.toml in the XDG config directory]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "PEERAGE_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// The user to act for [default: the one that is logged in]
    #[arg(long = "as", global = true, value_name = "USER", value_parser = who::named)]
    pub(crate) acting: Option<who::Named>,
    /// Results as JSON: one value, or one object a line for streams
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No messages other than errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// How long to wait for an answer
    #[arg(
        long,
        global = true,
        value_name = "SECONDS",
        default_value = "30",
        value_parser = positive,
        allow_negative_numbers = true
    )]
    pub(crate) timeout: f64,
    /// No progress on stderr
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,
    /// Log more; repeat for still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// A number of seconds that is more than nothing and less than a year.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    let range = 0.001..=31_536_000.0;
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| "expected a number of seconds, 0.001 or more".to_owned())
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node in this terminal until it is stopped
    #[command(after_help = "\
Examples:
  peerage up
  peerage up --listen /ip4/0.0.0.0/tcp/4001 --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
  peerage up --json --metrics 127.0.0.1:9464 --log-file peerage.log

Ends on ctrl-C, SIGTERM or `peerage stop`; a second ctrl-C ends it at once. With --json one line
on stdout says when it is ready. Every option is also a key of the configuration file and an
environment variable: see `peerage config show --origin`.")]
    Up(Flags),
    #[command(flatten)]
    Client(Client),
}

/// Everything that does not become a daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum Client {
    /// Watch three nodes in this process find each other, talk and send a file, and two users meet
    #[command(
        after_help = "Needs no daemon and no network, and leaves no files; exits 0 if all went well."
    )]
    Demo,
    /// How the node fares: addresses, peers, reachability, memory
    Status,
    /// The identity of the node
    Id,
    /// Check what commonly keeps a node from being found and reached; exits 1 if anything fails
    Doctor,
    /// Stop the node and wait until it is gone
    Stop,
    /// Who is connected and known; block, allow and protect lists
    #[command(after_help = "\
Examples:
  peerage peers
  peerage peers show 12D3KooW…
  peerage peers block 12D3KooW…")]
    Peers(peers::Args),
    /// Connect to an address or a known peer
    #[command(after_help = "\
Examples:
  peerage connect /ip4/192.0.2.7/tcp/4001
  peerage connect /ip4/192.0.2.7/udp/4001/quic-v1/p2p/12D3KooW…   only if that peer answers
  peerage connect 12D3KooW…                                       at its known addresses")]
    Connect {
        /// A multiaddress or a peer id
        #[arg(value_name = "ADDR|PEER", value_parser = peers::Target::parse)]
        target: peers::Target,
    },
    /// Close all connections to a peer
    ///
    /// A bootstrap or protected peer is connected again soon; `peerage peers block PEER` keeps a peer
    /// away.
    Disconnect {
        /// Peer id
        #[arg(value_parser = peers::peer)]
        peer: peerage_api::types::PeerId,
    },
    /// Measure round trips to a peer; connects first if need be
    #[command(after_help = "Example: peerage ping 12D3KooW… -c 10 --interval 0.2")]
    Ping(peers::Ping),
    /// Announce this node under a namespace until the node stops, and meet others there
    #[command(after_help = "\
What is announced is public: in Kademlia everybody in the network can read it, on Mainline (the
BitTorrent DHT) the whole internet, with the address of this node; --no-mainline and --local-only of
`peerage up` keep it from there.

A namespace has the infohash SHA-1 of its name. Where librats nodes meet: `librats/1.0` (2.x) and
`rats_peer_discovery_v1.0` (1.x).

Example: peerage announce chess    then elsewhere: peerage find chess
         peerage announce          what is announced, and where
         peerage announce chess --off")]
    Announce(discovery::Announce),
    /// Look for nodes that announce a namespace: in both DHTs and among the peers of peers
    #[command(after_help = "\
Asked are, all at once: Kademlia, the distributed hash table of the network; Mainline, the
BitTorrent DHT; and connected peers, which introduce those that they have met there. Each result
says who told it: kad, mainline or pex. What --no-kad or --no-mainline of `peerage up` has switched
off is not asked.

Example: peerage find chess --timeout 60")]
    Find {
        /// The namespace
        namespace: peerage_api::types::Namespace,
    },
    /// Look for the addresses of a peer in both DHTs, then in the address book
    #[command(after_help = "\
Asked are, at once: Kademlia, the distributed hash table of the network, which knows peers of every
kind; and Mainline, the BitTorrent DHT, whose records are signed with Ed25519, so that it knows only
peers whose ids begin with 12D3KooW. The first that knows answers. If neither does, it is what this
node remembers, also from introductions by other peers.

Example: peerage resolve 12D3KooW…")]
    Resolve {
        /// Peer id
        #[arg(value_parser = peers::peer)]
        peer: peerage_api::types::PeerId,
    },
    /// Publish a message on a topic
    #[command(after_help = "\
Examples:
  peerage pub news 'hello'
  date | peerage pub news")]
    Pub(pubsub::Publish),
    /// Print the messages of topics as they come
    #[command(after_help = "\
Examples:
  peerage sub news weather
  peerage sub news --count 1 --json    one message as a line of JSON, then exit")]
    Sub(pubsub::Subscribe),
    /// Topics that this node or its peers subscribed to
    Topics,
    /// Typed messages between connected nodes
    #[command(after_help = "\
Examples:
  peerage exchange listen chat               and elsewhere:
  peerage exchange send 12D3KooW… chat 'hello'
  peerage exchange respond time -- 'noon'    and elsewhere:
  peerage exchange request 12D3KooW… time")]
    Exchange(exchange::Args),
    /// Send files and folders to a peer or a user
    Send(files::Send),
    /// Make files and folders available to whoever has the ticket
    Share(files::Share),
    /// Fetch what a ticket or a published path names
    Get(files::Get),
    /// What others can fetch from this node
    Shares(files::Shares),
    /// Files on their way: see, accept, pause, resume, cancel
    Transfers(files::Transfers),
    /// Users of this node, their sessions and profiles, and everybody that is known
    #[command(after_help = "\
Examples:
  peerage user create --handle ada       asks for a password; then ada is logged in
  peerage user login ada                 again, after a logout or a restart of the node
  peerage user search ben                whom this node has heard of
  peerage --as ada user update --bio work='analytical engines'

Passwords come from --password-file, $PEERAGE_PASSWORD or a prompt, never from an argument.")]
    User(users::Args),
    /// The private book of the acting user: names, trust, notes, safety numbers, blocks
    #[command(after_help = "\
Examples:
  peerage contact set @ben --nick 'my baker' --trust 60 --tag bread
  peerage contact ls --tag bread
  peerage contact verify 'my baker'
  peerage contact block user1…")]
    Contact(contacts::Args),
    /// Applications that act for users of this node
    #[command(after_help = "\
Examples:
  peerage service register org.example.notes --version 1.0 --description 'Notes of all kinds'
  peerage service watch org.example.notes       who is logged in, as they come and go")]
    Service(services::Args),
    /// What a service keeps for the acting user, sealed
    #[command(after_help = "\
Examples:
  peerage storage put org.example.notes shopping/today 'bread, tea'
  peerage storage get org.example.notes shopping/today
  peerage storage ls org.example.notes shopping/
  peerage storage put org.example.notes draft - --ttl 12h < draft.txt")]
    Storage(storage::Args),
    /// The replicated key-value store: settings and small data that every node has
    #[command(after_help = "\
Examples:
  peerage kv put settings/mail/port 587 --type int
  peerage kv get settings/mail/port             here, or on any node of the network
  peerage kv watch settings/                    changes as they happen, wherever they were made
  peerage kv export backup.jsonl
  peerage kv space create team                  a space that only some may read and write

Writes are local and immediate, also without any connection; nodes bring each other up to date by
themselves. Of two writes to one key the later one wins, the same everywhere. Entries are signed
by the node, or with --as USER by the user.")]
    Kv(kv::Args),
    /// Measure throughput and latency
    Bench(bench::Args),
    /// The configuration of the daemon
    Config(config::Args),
    /// Print completions for a shell
    #[command(
        after_help = "Example: peerage completions bash > ~/.local/share/bash-completion/completions/peerage"
    )]
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Take part in libp2p's test harness, as its environment variables say
    #[command(hide = true)]
    Interop,
    /// Print or write the man pages
    #[command(hide = true)]
    Man(man::Args),
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    /// Arguments are there for all to see, in `ps` and in the history of the shell.
    #[test]
    fn no_secret_is_taken_from_an_argument() {
        fn walk(command: &clap::Command, seen: &mut Vec<String>) {
            for arg in command.get_arguments().filter(|arg| arg.get_action().takes_values()) {
                let name = arg.get_id().as_str();
                if ["password", "recovery", "token", "secret"].iter().any(|s| name.contains(s)) {
                    assert!(name.ends_with("_file"), "{} takes {name}", command.get_name());
                    seen.push(name.to_owned());
                }
            }
            command.get_subcommands().for_each(|command| walk(command, seen));
        }
        let mut seen = Vec::new();
        walk(&Cli::command(), &mut seen);
        assert!(seen.iter().any(|name| name == "password_file"), "{seen:?}");
    }

    #[test]
    fn flags_of_up_become_values_of_their_keys() {
        let line = "peerage up --listen /ip4/127.0.0.1/tcp/0 --listen /ip6/::1/tcp/0 --no-kad \
                    --local-only --max-peers 9 --json --timeout 0.5";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        assert!(cli.global.json && (cli.global.timeout - 0.5).abs() < 1e-9);
        let Command::Up(flags) = cli.command else { panic!("not up") };
        let given: Vec<_> =
            flags.0.iter().map(|(key, value)| format!("{}={value}", key.path())).collect();
        assert_eq!(
            given,
            [
                r#"listen.addresses=["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"]"#,
                "discovery.kad=false",
                "discovery.local_only=true",
                "limits.max_peers=9",
            ]
        );
    }

    #[test]
    fn a_value_out_of_shape_is_a_usage_error_that_says_what_is_expected() {
        for (line, expected) in [
            ("send f --to 12D3KooWhalf", "full peer id"),
            ("send f --to @", "handle"),
            ("user show user1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "copy it whole"),
            ("user update", "required"),
            ("user login ada --service org.example", "--token-file"),
            ("user create --handle a/b", "handle"),
            ("contact set ada --trust 101", "100"),
            ("contact verify ada --yes --number 1", "cannot be used with"),
            ("storage put org.example k v --ttl soon", "15m"),
            ("storage get Org.Example k", "lower-case"),
            ("kv put k v --type blob", "string, int, float"),
            ("kv put k v --if-revision 12", "24 hexadecimal digits"),
            ("kv put k v --create --if-revision none", "cannot be used with"),
            ("kv put k v --file f", "cannot be used with"),
            ("kv put k v --ttl soon", "15m"),
            ("kv ls --limit 0", "1.."),
            ("kv ls --from=", "the key is empty"),
            ("kv space grant team --to 12D3Koo", "full peer id"),
            ("kv space ticket team --read --write", "cannot be used with"),
            ("--as @ status", "handle"),
            ("send f --to", "value is required"),
            ("get x --limit fast", "such as 500k"),
            ("transfers pause 3f", "first 4 or more"),
            ("shares add d --for x", "peer id"),
            ("up --max-peers 0", "a whole number from 1"),
            ("up --profile king", "one of peer, relay, bootstrap"),
            ("up --listen nowhere", "a list of multiaddresses"),
            ("ping nobody", "peer id"),
            ("connect nobody", "starts with /"),
            ("status --timeout -1", "number of seconds"),
        ] {
            let line = std::iter::once("peerage").chain(line.split(' '));
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
