//! Users: who they are, what they note, and what services keep for them.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::sandbox::{Finished, Sandbox, fields};

mod contacts;
mod elsewhere;
mod prompt;
mod services;

/// The fields of a user in JSON.
const USER: [&str; 15] = [
    "avatar",
    "bio",
    "display_name",
    "handle",
    "last_seen_ms",
    "local",
    "mailboxes",
    "nodes",
    "online",
    "revoked",
    "seq",
    "services",
    "successor",
    "updated_ms",
    "user",
];

/// Makes a user whose password is in the file `HANDLE.pw`, and returns its id.
fn create(sandbox: &Sandbox, handle: &str) -> String {
    let created = sandbox.json(&[
        "user",
        "create",
        "--handle",
        handle,
        "--password-file",
        &password(sandbox, handle),
    ]);
    created["user"].as_str().unwrap().to_owned()
}

/// A file with a password of its own for each name.
fn password(sandbox: &Sandbox, name: &str) -> String {
    let path = sandbox.write(&format!("{name}.pw"), &format!("secret of {name}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn token_file(sandbox: &Sandbox, user: &str) -> PathBuf {
    sandbox.data().join(format!("sessions/{user}.token"))
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

/// Exit code and typed code of a command that fails.
fn failure(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String) {
    let finished = sandbox.run(&[args, &["--json"]].concat());
    (finished.code, finished.error_code())
}

fn failed(code: &str) -> (Option<i32>, String) {
    (Some(1), code.to_owned())
}

fn with_env(sandbox: &Sandbox, args: &[&str], variables: &[(&str, &str)]) -> Finished {
    let mut command = sandbox.command(args);
    command.envs(variables.iter().copied());
    Finished::of(args, command.output().unwrap())
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["user"].as_str().unwrap()).collect()
}

#[test]
fn a_user_is_made_logged_out_and_in_and_its_token_is_its_owners_alone() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let file = password(&sandbox, "ada");
    let created = sandbox.json(&["user", "create", "--handle", "ada", "--password-file", &file]);
    let mut expected = USER.to_vec();
    expected.push("recovery");
    expected.sort_unstable();
    assert_eq!(fields(&created), expected);
    assert!(created["recovery"].as_str().unwrap().starts_with("recovery1"));
    assert_eq!((&created["handle"], &created["local"]), (&"ada".into(), &true.into()));
    let ada = created["user"].as_str().unwrap();
    let token = token_file(&sandbox, ada);
    assert_eq!((mode(&token), mode(token.parent().unwrap())), (0o600, 0o700));
    let text = fs::read_to_string(&token).unwrap();
    assert_eq!(text.trim().len(), 64);
    assert!(!created.to_string().contains(text.trim()), "the token is for nobody's eyes");

    let shown = sandbox.json(&["user", "show"]);
    assert_eq!(fields(&shown), USER);
    assert_eq!(shown["user"], ada);
    let listed = sandbox.json(&["user", "ls"]);
    assert_eq!((&listed[0]["user"], &listed[0]["logged_in"]), (&ada.into(), &true.into()));
    assert!(sandbox.run(&["user", "ls"]).stdout.contains("@ada"));
    let sessions = sandbox.json(&["user", "sessions"]);
    assert_eq!((sessions.as_array().unwrap().len(), &sessions[0]["current"]), (1, &true.into()));

    assert_eq!(sandbox.json(&["user", "logout"])["logged_out"], true);
    assert!(!token.exists());
    let nobody = sandbox.run(&["user", "sessions", "--json"]);
    assert_eq!((nobody.code, nobody.error_code().as_str()), (Some(1), "not_logged_in"));
    assert!(nobody.stderr.contains("peerage user login"), "{nobody:?}");

    let env = [("PEERAGE_PASSWORD", "secret of ada")];
    let login = with_env(&sandbox, &["user", "login", "@ada", "--json"], &env);
    assert_eq!(
        fields(&login.json()),
        ["expires_ms", "idle_expires_ms", "revoked", "session", "successor", "user"]
    );
    assert_eq!((login.json()["user"].as_str().unwrap(), mode(&token)), (ada, 0o600));
    assert_ne!(fs::read_to_string(&token).unwrap(), text, "a new session");
    assert_eq!(sandbox.json(&["user", "sessions"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_second_login_ends_the_session_that_nobody_could_end_any_more() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let file = password(&sandbox, "ada");
    sandbox.json(&["user", "login", "--password-file", &file]);
    assert_eq!(sandbox.json(&["user", "sessions"]).as_array().unwrap().len(), 1);

    let login = ["user", "login", "ada", "--password-file", &file, "--token-file", "other.token"];
    sandbox.json(&[&login[..], &["--service", "org.example.notes"]].concat());
    assert_eq!(mode(&sandbox.home.path().join("other.token")), 0o600);
    let sessions = sandbox.json(&["user", "sessions"]);
    let limited = |session: &&Value| session["service"] == "org.example.notes";
    let other = sessions.as_array().unwrap().iter().find(limited).unwrap()["session"].to_string();
    assert_eq!(sandbox.json(&["user", "sessions", "--end", &other])["ended"], true);
    assert_eq!(
        failure(&sandbox, &["user", "sessions", "--end", &other]),
        failed("no_such_session")
    );
    sandbox.json(&login);
    assert_eq!(sandbox.json(&["user", "sessions", "--end-others"])["ended"], 1);
    assert_eq!(sandbox.json(&["user", "logout", "--all"])["logged_out"], true);
}

#[test]
fn a_wrong_password_opens_nothing() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let ada = create(&sandbox, "ada");
    let wrong = password(&sandbox, "wrong");
    let before = fs::read_to_string(token_file(&sandbox, &ada)).unwrap();
    let login = ["user", "login", "ada", "--password-file", &wrong];
    assert_eq!(failure(&sandbox, &login), failed("wrong_password"));
    assert_eq!(fs::read_to_string(token_file(&sandbox, &ada)).unwrap(), before);
    let env = [("PEERAGE_PASSWORD", "")];
    let none = with_env(&sandbox, &["user", "login", "ada", "--json"], &env);
    assert_eq!((none.code, none.error_code().as_str()), (Some(1), "no_secret"));
    assert!(none.stderr.contains("--password-file"), "{none:?}");
    let missing = ["user", "login", "ada", "--password-file", "nowhere"];
    assert_eq!(failure(&sandbox, &missing), failed("io"));
}

#[test]
fn the_password_changes_and_the_session_goes_on() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let (old, new) = (password(&sandbox, "ada"), password(&sandbox, "new"));
    let passwd = ["user", "passwd", "--password-file", &old, "--new-password-file", &new];
    sandbox.json(&passwd);
    sandbox.json(&["user", "sessions"]);
    assert_eq!(failure(&sandbox, &passwd), failed("wrong_password"));
    sandbox.json(&["user", "login", "ada", "--password-file", &new]);
}

#[test]
fn the_recovery_code_is_seen_once_or_left_in_a_file() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let file = password(&sandbox, "any");
    let create = ["user", "create", "--password-file", &file];
    let people = sandbox.run(&[&create[..], &["--quiet"]].concat());
    assert_eq!(people.code, Some(0), "{people:?}");
    assert!(people.stdout.starts_with("user1") && people.stdout.trim().len() == 63, "{people:?}");
    assert!(people.stderr.contains("recovery1"), "quiet or not, it is lost otherwise: {people:?}");

    let into = [&create[..], &["--recovery-file", "code.txt"]].concat();
    let created = sandbox.json(&into);
    assert_eq!(fields(&created), USER, "no code");
    let code = sandbox.home.path().join("code.txt");
    assert_eq!(mode(&code), 0o600);
    assert!(fs::read_to_string(&code).unwrap().starts_with("recovery1"));
    let users = || sandbox.json(&["user", "ls"]).as_array().unwrap().len();
    assert_eq!(users(), 2);
    assert_eq!(failure(&sandbox, &into), failed("exists"));
    assert_eq!(users(), 2, "no user was made whose code could not be kept");
}

#[test]
fn of_several_users_who_are_logged_in_one_is_named() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let (ada, ben) = (create(&sandbox, "ada"), create(&sandbox, "ben"));
    let several = sandbox.run(&["user", "sessions", "--json"]);
    assert_eq!((several.code, several.error_code().as_str()), (Some(1), "ambiguous"));
    assert_eq!(several.json()["error"]["users"].as_array().unwrap().len(), 2);
    for part in [ada.as_str(), ben.as_str(), "@ada", "@ben", "--as"] {
        assert!(several.stderr.contains(part), "no {part}: {several:?}");
    }
    for (name, user) in [("ada", &ada), ("@ben", &ben), (ben.as_str(), &ben)] {
        assert_eq!(sandbox.json(&["--as", name, "user", "show"])["user"], user.as_str());
        sandbox.json(&["user", "sessions", "--as", name]);
    }
    sandbox.json(&["--as", "ben", "user", "logout"]);
    assert_eq!(sandbox.json(&["user", "show"])["user"], ada.as_str());
    assert_eq!(failure(&sandbox, &["--as", "ben", "user", "sessions"]), failed("not_authorised"));
    assert_eq!(failure(&sandbox, &["--as", "eve", "user", "sessions"]), failed("unknown_user"));
    let stranger = "user1qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurst5pzq2";
    let stranger = ["--as", stranger, "user", "sessions"];
    assert_eq!(failure(&sandbox, &stranger), failed("no_such_user"));
}

#[test]
fn a_token_that_no_longer_counts_is_forgotten_with_advice() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let ada = create(&sandbox, "ada");
    let token = token_file(&sandbox, &ada);
    assert_eq!(sandbox.run(&["stop"]).code, Some(0));
    drop(daemon);
    assert!(token.exists());
    let _daemon = sandbox.up(&[]);
    let refused = sandbox.run(&["user", "sessions", "--json"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(["not_authorised", "session_expired"].contains(&refused.error_code().as_str()));
    assert!(refused.stderr.contains("peerage user login"), "{refused:?}");
    assert!(!token.exists());
    let file = password(&sandbox, "ada");
    sandbox.json(&["user", "login", "--password-file", &file]);
    assert_eq!(mode(&token), 0o600);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(failure(&sandbox, &["user", "sessions"]), failed("unsafe_token"));
}

#[test]
fn a_session_that_expires_is_told_from_one_that_never_was() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&["--session-max-s", "1"]);
    let ada = create(&sandbox, "ada");
    let start = std::time::Instant::now();
    let expired = loop {
        let finished = sandbox.run(&["user", "sessions", "--json"]);
        if finished.code != Some(0) {
            break finished;
        }
        assert!(start.elapsed().as_secs() < 60, "it does not expire");
    };
    assert_eq!((expired.code, expired.error_code().as_str()), (Some(1), "session_expired"));
    assert_eq!(expired.json()["error"]["user"], ada.as_str());
    assert!(expired.stderr.contains("peerage user login"), "{expired:?}");
    let again = failure(&sandbox, &["user", "sessions"]);
    assert_eq!(again, failed("session_expired"), "and so it says until somebody logs in");
    assert_eq!(sandbox.json(&["user", "logout"])["logged_out"], true);
    assert!(!token_file(&sandbox, &ada).exists());
    assert_eq!(failure(&sandbox, &["user", "sessions"]), failed("not_logged_in"));
}

#[test]
fn a_profile_changes_field_by_field() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    create(&sandbox, "ada");
    let avatar = "ab".repeat(32);
    let update =
        ["user", "update", "--display-name", "Ada Lovelace", "--bio", "work=engines", "--bio"];
    let rest = ["home=London", "--avatar", &avatar, "--add-service", "org.example.notes"];
    let first = sandbox.json(&[&update[..], &rest[..]].concat());
    assert_eq!(fields(&first), USER);
    assert_eq!(first["bio"], serde_json::json!({ "home": "London", "work": "engines" }));
    assert_eq!((&first["avatar"], &first["handle"]), (&avatar.into(), &"ada".into()));
    let unset =
        ["user", "update", "--unset", "avatar", "--unset", "handle", "--remove-bio", "home"];
    let second = sandbox.json(&[&unset[..], &["--remove-service", "org.example.notes"]].concat());
    assert_eq!((&second["avatar"], &second["handle"]), (&Value::Null, &Value::Null));
    assert_eq!(second["bio"], serde_json::json!({ "work": "engines" }));
    assert_eq!(second["services"], serde_json::json!([]));
    assert!(second["seq"].as_u64() > first["seq"].as_u64());
    assert_eq!(second["display_name"], "Ada Lovelace");
    let people = sandbox.run(&["user", "show"]);
    assert!(people.stdout.contains("work: engines"), "{people:?}");
}

#[test]
fn a_user_moves_to_a_new_key_with_its_recovery_code() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let file = password(&sandbox, "ada");
    let create = ["user", "create", "--handle", "ada", "--password-file", &file];
    let old = sandbox.json(&[&create[..], &["--recovery-file", "old.txt"]].concat());
    let rotate = ["user", "rotate", "--password-file", &file, "--recovery-file"];
    sandbox.write("none.txt", "recovery1qqqq");
    assert_eq!(failure(&sandbox, &[&rotate[..], &["none.txt"]].concat()), failed("bad_secret"));
    sandbox
        .write("other.txt", "recovery1qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurswpc8qurs00ehup");
    let other = [&rotate[..], &["other.txt"]].concat();
    assert_eq!(failure(&sandbox, &other), failed("wrong_recovery"));
    let args = [&rotate[..], &["old.txt", "--new-recovery-file", "new.txt"]].concat();
    let moved = sandbox.json(&args);
    assert_eq!(fields(&moved), ["previous", "user"]);
    assert_eq!(moved["previous"], old["user"]);
    let (old, new) = (old["user"].as_str().unwrap(), moved["user"].as_str().unwrap());
    assert!(!token_file(&sandbox, old).exists());
    assert_eq!(mode(&token_file(&sandbox, new)), 0o600);
    sandbox.json(&["user", "sessions"]);
    assert_eq!(sandbox.json(&["user", "show", "ada"])["user"], new, "the old one no longer counts");
    assert_eq!(sandbox.json(&["user", "show", old])["successor"], new);
    let unsaid = ["user", "revoke", new, "--recovery-file", "new.txt"];
    assert_eq!(failure(&sandbox, &unsaid), (Some(2), "not_confirmed".to_owned()));
    let revoke = ["user", "revoke", new, "--yes", "--recovery-file"];
    assert_eq!(failure(&sandbox, &[&revoke[..], &["old.txt"]].concat()), failed("wrong_recovery"));
    assert_eq!(sandbox.json(&[&revoke[..], &["new.txt"]].concat())["revoked"], true);
    assert_eq!(sandbox.json(&["user", "show", new])["revoked"], true);
}

#[test]
fn a_deleted_user_is_gone_and_one_that_is_kept_can_be_exported() {
    let sandbox = Sandbox::new();
    let _daemon = sandbox.up(&[]);
    let (ada, ben) = (create(&sandbox, "ada"), create(&sandbox, "ben"));
    let (ada_file, ben_file) = (password(&sandbox, "ada"), password(&sandbox, "ben"));
    let delete = ["--as", "ada", "user", "delete", "--password-file", &ada_file];
    let unsaid = (Some(2), "not_confirmed".to_owned());
    assert_eq!(failure(&sandbox, &delete), unsaid);
    let wrong = ["--as", "ada", "user", "delete", "--yes", "--password-file", &ben_file];
    assert_eq!(failure(&sandbox, &wrong), failed("wrong_password"));
    let gone = sandbox.json(&[&delete[..], &["--yes"]].concat());
    assert_eq!((&gone["user"], &gone["kept"]), (&ada.as_str().into(), &false.into()));
    assert!(!token_file(&sandbox, &ada).exists());
    sandbox.json(&["user", "delete", "--keep", "--password-file", &ben_file]);
    let listed = sandbox.json(&["user", "ls"]);
    assert_eq!(ids(&listed), [ben.as_str()]);
    assert_eq!((&listed[0]["deleted"], &listed[0]["logged_in"]), (&true.into(), &false.into()));
    let export = ["--as", &ben, "user", "export", "ben.peerage", "--password-file", &ben_file];
    sandbox.json(&[&export[..], &["--archive-password-file", &ada_file]].concat());
    assert_eq!(mode(&sandbox.home.path().join("ben.peerage")), 0o600);

    let again = sandbox.run(&["user", "delete", "ben", "--yes", "--json"]);
    assert_eq!(again.error_code(), "deleted");
    assert!(again.stderr.contains("--forget"), "{again:?}");
    let forget = ["user", "delete", "ben", "--forget", "--password-file", &ben_file];
    assert_eq!(failure(&sandbox, &forget), unsaid);
    let forget = ["user", "delete", "ben", "--forget", "--yes", "--password-file"];
    let with = |file| [&forget[..], &[file]].concat();
    assert_eq!(failure(&sandbox, &with(&ada_file)), failed("wrong_password"));
    let lost = sandbox.run(&with(&ada_file));
    assert!(lost.stderr.contains("if it is lost") && lost.code == Some(1), "{lost:?}");
    assert_eq!(sandbox.json(&with(&ben_file))["kept"], false);
    assert_eq!(ids(&sandbox.json(&["user", "ls"])), [""; 0]);
}

#[test]
fn users_that_went_with_a_damaged_store_are_said_to_be_in_the_one_that_was_set_aside() {
    let sandbox = Sandbox::new();
    let daemon = sandbox.up(&[]);
    let ada = create(&sandbox, "ada");
    assert!(sandbox.json(&["status"])["kept_aside"].is_null());
    daemon.kill();
    fs::write(sandbox.data().join("peerage.redb"), [7; 100_000]).unwrap();
    let _daemon = sandbox.up(&[]);
    let kept = sandbox.json(&["status"])["kept_aside"].as_str().unwrap().to_owned();
    assert!(kept.contains("peerage.redb.corrupt-"), "{kept}");
    let file = password(&sandbox, "ada");
    for (user, code) in [("ada", "unknown_user"), (ada.as_str(), "no_such_user")] {
        let refused = sandbox.run(&["user", "login", user, "--password-file", &file, "--json"]);
        assert_eq!(refused.error_code(), code);
        assert!(refused.stderr.contains(&kept) && refused.stderr.contains("backup"), "{refused:?}");
    }
    let refused = sandbox.run(&["contact", "ls", "--json"]);
    assert_eq!(refused.error_code(), "no_such_user");
    assert!(refused.stderr.contains(&kept), "{refused:?}");
    let secrets = ["--password-file", &file, "--archive-password-file", &file, "--json"];
    let export = sandbox.run(&[&["user", "export", "-"], &secrets[..]].concat());
    assert_eq!(export.error_code(), "no_such_user");
    assert!(export.stderr.contains(&kept), "{export:?}");
    assert!(token_file(&sandbox, &ada).exists(), "a backup may bring the user back");
    fs::remove_file(token_file(&sandbox, &ada)).unwrap();
    for unnamed in ["login", "export", "ls"] {
        let answer = sandbox.run(&["user", unnamed, "--json"]);
        assert!(answer.stderr.contains(&kept), "{unnamed}: {answer:?}");
    }
    let checks = sandbox.run(&["doctor", "--json"]).json();
    let store = checks.as_array().unwrap().iter().find(|check| check["name"] == "store").unwrap();
    assert_eq!(store["verdict"], "warn");
    assert!(store["detail"].as_str().unwrap().contains(&kept), "{store}");
}
