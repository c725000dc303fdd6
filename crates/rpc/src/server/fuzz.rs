//! What [`crate::fuzz`] shows of the server's inside.

use http::{Request, header};
use jsonrpsee::types::Params;
use peerage_api::{Feed, Method, Visitor, visit};
use serde::{Serialize, de::DeserializeOwned};

use super::{auth, methods};

/// Every method and feed reads the text as its parameters or refuses it, and what it reads means
/// the same after it was written and read again.
///
/// # Panics
/// When one does not.
pub fn parameters(bytes: &[u8]) {
    struct Each<'a>(Params<'a>);

    impl Each<'_> {
        fn read<T: Serialize + DeserializeOwned>(&self, name: &str) {
            let Ok(request) = methods::parse::<T>(name, &self.0) else { return };
            let written = serde_json::to_string(&request).expect("a request can be written");
            let again: T = methods::parse(name, &Params::new(Some(&written)))
                .unwrap_or_else(|e| panic!("{name} does not read what it wrote: {written}: {e}"));
            let twice = serde_json::to_string(&again).expect("a request can be written");
            assert_eq!(written, twice, "{name}");
        }
    }

    impl Visitor for Each<'_> {
        fn method<M: Method>(&mut self) {
            self.read::<M>(M::NAME);
        }

        fn feed<F: Feed>(&mut self) {
            self.read::<F>(F::NAME);
        }
    }

    let Ok(text) = std::str::from_utf8(bytes) else { return };
    visit(&mut Each(Params::new(Some(text))));
}

/// Port of the gate in [`admission`].
const PORT: u16 = 4321;

/// The first line as `Host`, the second as `Origin`, the third as `Authorization`: nobody gets in
/// who does not name this machine or does not know the token.
///
/// # Panics
/// When somebody does.
pub fn admission(bytes: &[u8]) {
    const TOKEN: &str = "0123456789abcdef";
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut request = Request::builder();
    for name in [header::HOST, header::ORIGIN, header::AUTHORIZATION] {
        if let Some(value) = lines.next().filter(|line| !line.is_empty()) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    let gate = auth::Gate::new(([127, 0, 0, 1], PORT).into(), auth::Token::of(TOKEN));
    if gate.check(&request).is_err() {
        return;
    }
    let given = |name| request.headers().get(name).map(http::HeaderValue::as_bytes);
    let host = given(header::HOST).expect("let in without a host");
    assert!(names_this_machine(host), "let in as {}", host.escape_ascii());
    if let Some(origin) = given(header::ORIGIN) {
        let host = origin.strip_prefix(b"http://").expect("let in from a strange origin");
        assert!(names_this_machine(host), "let in from {}", origin.escape_ascii());
    }
    let secret = given(header::AUTHORIZATION).expect("let in without authorisation");
    assert!(secret.trim_ascii().ends_with(TOKEN.as_bytes()), "let in without the token");
}

fn names_this_machine(host: &[u8]) -> bool {
    let host = String::from_utf8_lossy(host).to_ascii_lowercase();
    let Some((name, port)) = host.rsplit_once(':') else { return false };
    let named = ["localhost", "127.0.0.1", "[127.0.0.1]"].contains(&name);
    named && port.parse() == Ok(PORT)
}
