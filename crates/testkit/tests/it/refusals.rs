//! Every call on somebody's behalf is refused without the proof, for every method of the contract.

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use peerage_api::{
    Access, Failure, Feed, Method, Node, Visitor,
    services::Register,
    types::{Token, UserId},
    users::{Auth, UsersError},
    visit,
};
use peerage_net::{Settings, UsersSettings};
use peerage_testkit::{
    loopback,
    suite::users::{password, service, user},
    within,
};
use serde_json::{Value, json};

/// Facets in which whatever needs no token must be named here.
const OPEN: [&str; 13] = [
    "users.create",
    "users.login",
    "users.forget",
    "users.revoke_key",
    "users.export",
    "users.import",
    "users.local",
    "users.list",
    "users.get",
    "users.search",
    "users.events",
    "services.register",
    "services.list",
];

/// What a call carries besides who asks, for each that needs a token.
fn samples() -> BTreeMap<&'static str, Value> {
    let other = UserId([5; 32]);
    BTreeMap::from([
        ("users.logout", json!({})),
        ("users.sessions", json!({})),
        ("users.revoke", json!({ "session": 1 })),
        ("users.revoke_all", json!({})),
        ("users.change_password", json!({ "old": "a", "new": "b" })),
        ("users.update", json!({ "change": { "display_name": { "set": "Mallory" } } })),
        ("users.rotate", json!({ "password": "a", "recovery": recovery() })),
        ("users.delete", json!({ "password": "a" })),
        ("contacts.set", json!({ "contact": other })),
        ("contacts.get", json!({ "contact": other })),
        ("contacts.list", json!({})),
        ("contacts.remove", json!({ "contact": other })),
        ("contacts.safety_number", json!({ "contact": other })),
        ("contacts.verify", json!({ "contact": other })),
        ("contacts.block", json!({ "contact": other })),
        ("contacts.unblock", json!({ "contact": other })),
        ("contacts.watch", json!({})),
        ("services.unregister", json!({ "name": "org.example.notes" })),
        ("services.watch", json!({ "name": "org.example.notes" })),
        (
            "storage.apply",
            json!({ "service": "org.example.notes", "writes": [
            { "op": "put", "key": "k", "value": "v" }] }),
        ),
        ("storage.get", json!({ "service": "org.example.notes", "key": "k" })),
        ("storage.list", json!({ "service": "org.example.notes" })),
        ("storage.watch", json!({ "service": "org.example.notes" })),
    ])
}

fn recovery() -> String {
    peerage_api::types::RecoveryCode::new([1; 32]).to_text()
}

/// Asks everything that needs a token, in the name of `user` with `token`.
struct Attempt<'a> {
    node: &'a Node,
    user: UserId,
    token: Option<&'a Token>,
    samples: BTreeMap<&'static str, Value>,
    answers: Vec<BoxFuture<'a, (&'static str, String)>>,
    open: Vec<&'static str>,
}

impl Attempt<'_> {
    fn request(&mut self, name: &'static str, access: Access) -> Option<Value> {
        if access == Access::Anyone {
            self.open.push(name);
            return None;
        }
        let mut request =
            self.samples.remove(name).unwrap_or_else(|| panic!("{name} has no sample"));
        if !name.starts_with("services.") {
            request["user"] = json!(self.user);
        }
        if let Some(token) = self.token {
            request["token"] = json!(token);
        }
        Some(request)
    }
}

impl Visitor for Attempt<'_> {
    fn method<M: Method>(&mut self) {
        let Some(request) = self.request(M::NAME, M::ACCESS) else { return };
        let request: M = serde_json::from_value(request).unwrap();
        let link = self.node.link().clone();
        let answer = async move {
            let outcome = link.call(request).await;
            (M::NAME, outcome.map_or_else(|e| e.code(), |reply| format!("{reply:?}")))
        };
        self.answers.push(answer.boxed());
    }

    fn feed<F: Feed>(&mut self) {
        let Some(request) = self.request(F::NAME, F::ACCESS) else { return };
        let request: F = serde_json::from_value(request).unwrap();
        let link = self.node.link().clone();
        let answer = async move {
            let outcome = link.open(request).await;
            (F::NAME, outcome.map_or_else(|e| e.code(), |_| "it opened".to_owned()))
        };
        self.answers.push(answer.boxed());
    }
}

/// The answers to everything that needs a token; that nothing is forgotten is checked on the way.
async fn ask_all(node: &Node, user: UserId, token: Option<&Token>) -> Vec<(&'static str, String)> {
    let mut attempt =
        Attempt { node, user, token, samples: samples(), answers: Vec::new(), open: Vec::new() };
    visit(&mut attempt);
    assert!(attempt.samples.is_empty(), "not in the contract: {:?}", attempt.samples.keys());
    let of_users = ["users.", "contacts.", "services.", "storage."];
    let open = attempt.open.iter().filter(|name| of_users.iter().any(|f| name.starts_with(f)));
    for name in open {
        assert!(OPEN.contains(name), "{name} is for users but needs no token");
    }
    let mut answers = Vec::new();
    for answer in attempt.answers {
        answers.push(within("an answer", answer).await);
    }
    assert_eq!(answers.len(), samples().len());
    answers
}

fn assert_all(answers: Vec<(&'static str, String)>, code: &str) {
    for (name, answer) in answers {
        // A service has no sessions: what is not its token is simply not its token.
        let expected = if name.starts_with("services.") { "not_authorised" } else { code };
        assert_eq!(answer, expected, "{name}");
    }
}

async fn node(users: UsersSettings) -> peerage_net::Running {
    peerage_net::start(Settings { users, ..loopback() }).await.unwrap()
}

async fn register(node: &Node, name: &str) -> Token {
    let register = Register { name: service(name), version: None, description: None, token: None };
    node.services().register(register).await.unwrap().token
}

#[tokio::test]
async fn every_call_on_a_users_behalf_is_refused_without_a_proof_of_that_user() {
    let running = node(UsersSettings::default()).await;
    let node = &running.node;
    register(node, "org.example.notes").await;
    let other_service = register(node, "org.example.other").await;
    let (ada, eve) = (user(node, "ada").await, user(node, "eve").await);

    assert_all(ask_all(node, ada.user, None).await, "not_authorised");
    assert_all(ask_all(node, ada.user, Some(&Token::new([7; 32]))).await, "not_authorised");
    assert_all(ask_all(node, ada.user, Some(&eve.token)).await, "not_authorised");
    assert_all(ask_all(node, ada.user, Some(&other_service)).await, "not_authorised");
    let other = Some(service("org.example.other"));
    let limited = node.users().login(ada.user, password(), other).await.unwrap().token;
    let mut answers = ask_all(node, ada.user, Some(&limited)).await;
    // The first that was asked: ending itself is all that a limited session may do here.
    assert_eq!(answers.remove(0), ("users.logout", "()".to_owned()));
    assert_all(answers, "not_authorised");
    assert_all(ask_all(node, UserId([8; 32]), Some(&ada.token)).await, "no_such_user");

    let shown = node.users().get(ada.user).await.unwrap();
    assert_eq!((shown.seq, shown.display_name), (1, None), "nothing was changed by all that");
    let sessions = node.users().sessions(ada.auth()).await.unwrap();
    assert_eq!(sessions.len(), 1, "nor was she logged out");
    running.stop().await;
}

#[tokio::test]
async fn every_call_is_refused_once_the_session_has_expired() {
    let session_timeout = Duration::from_millis(300);
    let running = node(UsersSettings { session_timeout, ..UsersSettings::default() }).await;
    let node = &running.node;
    register(node, "org.example.notes").await;
    let ada = user(node, "ada").await;
    let auth = Auth::new(ada.user, ada.token.clone());
    within("the session to expire", async {
        while node.users().sessions(auth.clone()).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_all(ask_all(node, ada.user, Some(&ada.token)).await, "session_expired");
    let again = node.users().login(ada.user, password(), None).await;
    assert!(again.is_ok(), "{again:?}");
    let wrong = node.users().login(ada.user, "wrong".parse().unwrap(), None).await;
    assert_eq!(wrong, Err(UsersError::WrongPassword {}));
    running.stop().await;
}
