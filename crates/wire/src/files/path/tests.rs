use proptest::prelude::*;

use super::*;

fn fault(path: &str) -> PathFault {
    RelPath::parse(path).unwrap_err().fault
}

#[test]
fn names_of_people_are_accepted() {
    for path in [
        "a",
        "a/b/c.txt",
        ".hidden",
        "..x",
        "x..y",
        "Äpfel und Öl.txt",
        "日本語/ファイル",
        "العربية",
        "עברית\u{200f}",
        "می\u{200c}خواهم",
        "👩\u{200d}💻",
        "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        "Screenshot 9.41.00\u{202f}AM.png",
        "con_text",
        "COM10",
        "COMx",
        "nullable",
        "-rf",
        "a b (1)",
        "file*?<>|\"",
    ] {
        assert_eq!(RelPath::parse(path).unwrap().as_str(), path);
    }
}

#[test]
fn what_is_dangerous_is_refused_with_the_reason() {
    use PathFault::*;
    for (path, expected) in [
        ("", Empty),
        ("/etc/passwd", Empty),
        ("a//b", Empty),
        ("a/", Empty),
        (".", Dots),
        ("a/../b", Dots),
        ("..", Dots),
        ("a\\b", Character('\\')),
        ("C:", Character(':')),
        ("a:stream", Character(':')),
        ("a\0", Character('\0')),
        ("a\nb", Character('\n')),
        ("a\u{7f}", Character('\u{7f}')),
        ("a\u{85}", Character('\u{85}')),
        ("exe.\u{202e}txt", Character('\u{202e}')),
        ("a\u{2066}b", Character('\u{2066}')),
        ("a\u{200b}b", Character('\u{200b}')),
        ("\u{feff}a", Character('\u{feff}')),
        ("CON", Reserved),
        ("a/nul.tar.gz", Reserved),
        ("Aux ", Trailing),
        ("aux .txt", Reserved),
        ("com1", Reserved),
        ("LPT².x", Reserved),
        ("conin$", Reserved),
        ("a.", Trailing),
        ("a /b", Trailing),
    ] {
        assert_eq!(fault(path), expected, "{path:?}");
    }
    let error = RelPath::parse("a/\u{202e}b").unwrap_err().to_string();
    assert!(error.ends_with("cannot be used: the character U+202E is not allowed in names"));
}

#[test]
fn limits_are_accepted_and_one_more_is_not() {
    let longest = "ä".repeat(127) + "x";
    assert!(RelPath::parse(&longest).is_ok());
    assert_eq!(fault(&(longest + "y")), PathFault::LongComponent);
    let deepest = vec!["d"; MAX_COMPONENTS].join("/");
    assert_eq!(RelPath::parse(&deepest).unwrap().as_ref().depth(), MAX_COMPONENTS);
    assert_eq!(fault(&(deepest + "/d")), PathFault::Deep);
    let long = vec!["x".repeat(240); 18].join("/");
    assert!(RelPath::parse(&long[..MAX_PATH_BYTES]).is_ok());
    assert_eq!(fault(&long[..=MAX_PATH_BYTES]), PathFault::Long);
    assert_eq!(RelPath::parse_name("a/b").unwrap_err().fault, PathFault::Many);
}

#[test]
fn names_that_are_one_elsewhere_have_one_key() {
    for (a, b) in [
        ("README", "readme"),
        ("Straße", "STRASSE"),
        ("é", "e\u{301}"),
        ("É", "e\u{301}"),
        ("ΟΔΟΣ", "οδος"),
        ("οδοσ", "οδος"),
        ("\u{1e9e}", "ss"),
        ("K", "\u{212a}"),
        ("x\u{200d}y", "xy"),
    ] {
        assert_eq!(collision_key(a), collision_key(b), "{a} {b}");
    }
    assert_ne!(collision_key("a"), collision_key("ä"));
}

proptest! {
    #[test]
    fn what_is_accepted_has_only_valid_names(path in "[a.:/\\\\ \u{0}-\u{ff}\u{2020}-\u{2070}CONcon1]{0,40}") {
        if let Ok(path) = RelPath::parse(&path) {
            prop_assert!(path.as_ref().components().all(|name| check_name(name).is_ok()));
            prop_assert_eq!(path.as_ref().components().collect::<Vec<_>>().join("/"), path.as_str());
            prop_assert!(!std::path::Path::new(path.as_str()).is_absolute());
        }
    }

    #[test]
    fn order_is_that_of_the_components(a in "[ab.!0/-]{1,9}", b in "[ab.!0/-]{1,9}") {
        if let (Ok(a), Ok(b)) = (RelPath::parse(&a), RelPath::parse(&b)) {
            let parts = |path: &RelPath| -> Vec<String> {
                path.as_ref().components().map(String::from).collect()
            };
            prop_assert_eq!(a.cmp(&b), parts(&a).cmp(&parts(&b)));
        }
    }

    #[test]
    fn a_key_is_its_own_key(name in "\\PC{0,12}") {
        let key = collision_key(&name);
        prop_assert_eq!(collision_key(&key), key);
    }
}
