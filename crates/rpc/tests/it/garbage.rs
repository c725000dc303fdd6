//! What callers may send instead of parameters and headers.

use peerage_rpc::fuzz;

use crate::replay::replay;

#[test]
fn whatever_comes_as_parameters_is_read_or_refused() {
    replay(env!("CARGO_MANIFEST_DIR"), "parameters", fuzz::parameters);
}

#[test]
fn whatever_comes_as_headers_nobody_gets_in_without_the_token() {
    replay(env!("CARGO_MANIFEST_DIR"), "admission", fuzz::admission);
}
