//! The commented example file.

use std::fmt::Write;

use super::keys;

/// A configuration file that says what every key does and leaves all of them at their default.
pub(crate) fn example() -> String {
    let mut text = String::from(
        "# Configuration of the Peerage daemon. Every key is shown with its default; remove the `#`\n\
         # in front of those to change. A flag of `peerage up` or an environment variable\n\
         # PEERAGE_<SECTION>_<KEY> wins over this file; `peerage config show --origin` tells.\n",
    );
    for keys::Section { name: section, about, .. } in keys::SECTIONS {
        let _ = write!(text, "\n# {about}\n[{section}]\n");
        for key in keys::ALL.iter().filter(|key| key.section == *section) {
            let _ = write!(text, "# {}\n#{} = {}\n", key.doc, key.name, key.default());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Flags, layers::Origin};

    #[test]
    fn the_example_with_every_key_uncommented_is_the_defaults() {
        let text: String = example()
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(key) if !key.starts_with(' ') => format!("{key}\n"),
                _ => format!("{line}\n"),
            })
            .collect();
        let config = Config::of(Some((Path::new("e"), &text)), &[], &Flags::default()).unwrap();
        for setting in config.settings() {
            assert_eq!(setting.value, setting.key.default(), "{}", setting.key.path());
            assert!(matches!(setting.origin, Origin::File { .. }), "{}", setting.key.path());
        }
    }

    #[test]
    fn the_example_in_deploy_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/config.example.toml");
        if std::env::var_os("UPDATE_EXAMPLE").is_some() {
            std::fs::write(&path, example()).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(
            written == example(),
            "deploy/config.example.toml is out of date; run `UPDATE_EXAMPLE=1 cargo test -p peerage-node`"
        );
    }
}
