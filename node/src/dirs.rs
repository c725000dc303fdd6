//! Where files of the user belong, by the XDG base directory specification.

use std::path::PathBuf;

fn base(variable: &str, under_home: &str) -> Option<PathBuf> {
    // Relative values are to be ignored, says the specification.
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
    set.or_else(|| std::env::home_dir().map(|home| home.join(under_home)))
        .map(|dir| dir.join("peerage"))
}

/// Directory of the configuration file.
pub(crate) fn config() -> Option<PathBuf> {
    base("XDG_CONFIG_HOME", ".config")
}

/// Data directory when neither `--data` nor `$PEERAGE_DATA` names one.
pub(crate) fn data() -> Option<PathBuf> {
    base("XDG_DATA_HOME", ".local/share")
}
