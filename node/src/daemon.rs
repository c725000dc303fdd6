//! The node of this process and its control API: the one place that knows how they are started.

use std::{net::ToSocketAddrs, path::Path, time::Duration};

use peerage::{FilesSettings, ListenError, Profile, Security, StartError, UsersSettings};
pub(crate) use peerage::{Running, Settings};
use peerage_api::Node;
use peerage_rpc::{Config as RpcConfig, Server};

use crate::{
    config::{Config, keys},
    failed::{Exit, Failed},
};

/// What the configuration means for a node in `data`.
pub(crate) fn settings(config: &Config, data: &Path) -> Result<Settings, Failed> {
    let network = config.text(&keys::NETWORK).parse();
    let mut kv = Settings::default().kv;
    kv.max_value_bytes = config.number(&keys::KV_MAX_VALUE_BYTES);
    kv.max_space_bytes = number(config, &keys::KV_MAX_SPACE_BYTES);
    kv.max_space_entries = number(config, &keys::KV_MAX_SPACE_ENTRIES);
    Ok(Settings {
        data: Some(data.to_owned()),
        network: network.map_err(|e| Failed::new(Exit::Failed, "bad_config", e))?,
        network_key: config.optional(&keys::NETWORK_KEY).map(Into::into),
        security: Security::Both,
        profile: match config.text(&keys::PROFILE) {
            "relay" => Profile::Relay,
            "bootstrap" => Profile::Bootstrap,
            _ => Profile::Peer,
        },
        listen: config.list(&keys::LISTEN),
        external: config.list(&keys::EXTERNAL),
        bootstrap: config.list(&keys::BOOTSTRAP),
        protected: config.list(&keys::PROTECTED),
        mdns: config.bool(&keys::MDNS),
        kad: config.bool(&keys::KAD),
        mainline: config.bool(&keys::MAINLINE),
        mainline_bootstrap: config.list(&keys::MAINLINE_BOOTSTRAP),
        local_only: config.bool(&keys::LOCAL_ONLY),
        max_peers: config.number(&keys::MAX_PEERS),
        max_connections_per_ip: config.number(&keys::MAX_PER_IP),
        max_memory_bytes: config.number(&keys::MAX_MEMORY_MB) << 20,
        agent: config.text(&keys::AGENT).to_owned(),
        files: files(config)?,
        users: UsersSettings {
            idle_timeout: seconds(config, &keys::SESSION_IDLE_S),
            session_timeout: seconds(config, &keys::SESSION_MAX_S),
            ..UsersSettings::default()
        },
        kv,
    })
}

fn seconds(config: &Config, key: &keys::Key) -> Duration {
    Duration::from_secs(number(config, key))
}

fn number(config: &Config, key: &keys::Key) -> u64 {
    u64::try_from(config.number(key)).unwrap_or(u64::MAX)
}

fn files(config: &Config) -> Result<FilesSettings, Failed> {
    let dir = config.optional(&keys::FILES_DIR).map(std::path::absolute).transpose()?;
    let limit =
        |key| Some(number(config, key)).filter(|kb| *kb > 0).map(|kb| kb.saturating_mul(1000));
    Ok(FilesSettings {
        downloads: dir,
        accept_from: config.list(&keys::FILES_ACCEPT_FROM),
        accept_max_bytes: number(config, &keys::FILES_ACCEPT_MAX_MB) << 20,
        send_limit_bps: limit(&keys::FILES_SEND_LIMIT_KB),
        receive_limit_bps: limit(&keys::FILES_RECEIVE_LIMIT_KB),
        allow_relay: config.bool(&keys::FILES_ALLOW_RELAY),
    })
}

/// Starts a node in this process.
pub(crate) async fn start(settings: Settings) -> Result<Running, Failed> {
    peerage::start(settings).await.map_err(|error| {
        let code = match &error {
            StartError::Locked(_) => "locked",
            StartError::Key(_) => "bad_key",
            StartError::Listen(ListenError::InUse { .. }) => "address_in_use",
            StartError::Listen(_) => "bad_address",
            StartError::Setting(_) => "bad_config",
            _ => "start",
        };
        Failed::new(Exit::Failed, code, error)
    })
}

/// Writes a new pre-shared network key.
pub(crate) fn create_network_key(file: &Path) -> Result<(), Failed> {
    peerage::create_network_key(file).map_err(|e| Failed::new(Exit::Failed, "bad_key", e))
}

/// Starts the control API: a Unix socket in `data`, and TCP if configured.
pub(crate) async fn serve(node: Node, config: &Config, data: &Path) -> Result<Server, Failed> {
    let mut rpc = RpcConfig::in_data_dir(data);
    if let Some(listen) = config.optional(&keys::RPC) {
        let resolved = listen.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
        rpc.tcp = Some(resolved.ok_or_else(|| {
            let problem = format!("`rpc.listen`: {listen} is not an address of this machine");
            Failed::new(Exit::Failed, "bad_config", problem)
        })?);
    }
    Server::start(node, rpc).await.map_err(|e| Failed::new(Exit::Failed, "rpc", e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let config = Config::of(None, &[], &Flags::default()).unwrap();
        let mut settings = settings(&config, Path::new("data")).unwrap();
        settings.data = None;
        let json = |settings| serde_json::to_value(settings).unwrap();
        assert_eq!(json(settings), json(Settings::default()));
    }
    #[test]
    fn limits_are_given_in_thousands_and_zero_is_none() {
        let variables = [
            ("PEERAGE_FILES_SEND_LIMIT_KB", "250"),
            ("PEERAGE_FILES_ACCEPT_MAX_MB", "1"),
            ("PEERAGE_FILES_DIR", "in/box"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config::of(None, &variables, &Flags::default()).unwrap();
        let files = files(&config).unwrap();
        assert_eq!((files.send_limit_bps, files.receive_limit_bps), (Some(250_000), None));
        assert_eq!(files.accept_max_bytes, 1 << 20);
        assert!(files.downloads.is_some_and(|dir| dir.is_absolute() && dir.ends_with("in/box")));
    }
}
