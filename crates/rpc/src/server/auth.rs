//! Who may use the TCP listener: programs that know the token, and no web page.

use std::{
    fs, io,
    io::Write,
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, Request, StatusCode, header, uri::Authority};
use jsonrpsee::{
    core::BoxError,
    server::{HttpBody, HttpResponse},
};
use tower::Service;

use super::{StartError, accept::Rpc};

/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;

/// The secret that every request on TCP carries.
#[derive(Clone)]
pub(super) struct Token(blake3::Hash);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// Reads the token, after making one if there is none.
    pub(super) fn load(path: &Path) -> Result<Self, StartError> {
        let failed = |source| StartError::Token { path: path.to_owned(), source };
        if !path.try_exists().map_err(failed)? {
            create(path).map_err(failed)?;
        }
        let unsafe_token = |fault| StartError::UnsafeToken { path: path.to_owned(), fault };
        let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(unsafe_token("can be read by others"));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let text = text.trim();
        if text.len() != 2 * TOKEN_BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(unsafe_token("does not hold a token"));
        }
        Ok(Self::of(text))
    }

    pub(super) fn of(secret: &str) -> Self {
        Self(blake3::hash(secret.as_bytes()))
    }

    /// Compares in constant time, as hashes of equal length.
    fn is(&self, given: &[u8]) -> bool {
        self.0 == blake3::hash(given)
    }
}

/// Writes a fresh token beside its place and links it in, so that it is whole or absent and the
/// first of two writers wins.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let secret: [u8; TOKEN_BYTES] = rand::random();
    let mut file = tempfile::Builder::new()
        .prefix(".token-")
        .permissions(fs::Permissions::from_mode(0o600))
        .tempfile_in(folder)?;
    writeln!(file, "{}", data_encoding::HEXLOWER.encode(&secret))?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e.error),
    }
}

/// What a request must show to get in.
#[derive(Debug)]
pub(super) struct Gate {
    bound: SocketAddr,
    token: Token,
}

impl Gate {
    pub(super) fn new(bound: SocketAddr, token: Token) -> Self {
        Self { bound, token }
    }

    /// Checks the host first: a web page that rebinds its name to this address fails there.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), StatusCode> {
        let headers = request.headers();
        let host = match only(headers, header::HOST)? {
            Some(host) => host.to_str().ok(),
            // HTTP/2 has the host in the target.
            None => request.uri().authority().map(Authority::as_str),
        };
        if !host.is_some_and(|host| self.is_own(host)) {
            return Err(StatusCode::FORBIDDEN);
        }
        if let Some(origin) = only(headers, header::ORIGIN)? {
            let origin = origin.to_str().ok().and_then(|o| o.strip_prefix("http://"));
            if !origin.is_some_and(|host| self.is_own(host)) {
                return Err(StatusCode::FORBIDDEN);
            }
        }
        let authorization = headers.get(header::AUTHORIZATION).map(|a| a.as_bytes());
        match authorization.and_then(bearer) {
            Some(token) if self.token.is(token) => Ok(()),
            _ => Err(StatusCode::UNAUTHORIZED),
        }
    }

    /// Whether `host[:port]` names the bound address. Where that is "every address", any literal
    /// address will do: names are what an attacker can point here.
    fn is_own(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        if authority.as_str().contains('@')
            || authority.port_u16().unwrap_or(80) != self.bound.port()
        {
            return false;
        }
        let name = authority.host();
        // The parser passes over what is between a host and the last colon.
        let rest = authority.as_str().strip_prefix(name);
        let port = rest.map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        if !port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
            return false;
        }
        let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        match literal.parse::<IpAddr>() {
            Ok(ip) => ip == self.bound.ip() || self.bound.ip().is_unspecified(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The value of a header that may be given once at most.
fn only(
    headers: &HeaderMap,
    name: header::HeaderName,
) -> Result<Option<&header::HeaderValue>, StatusCode> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(StatusCode::FORBIDDEN) } else { Ok(first) }
}

fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn refuse(status: StatusCode) -> HttpResponse {
    let reason = match status {
        StatusCode::UNAUTHORIZED => {
            "send `Authorization: Bearer TOKEN` with the token of rpc.token\n"
        }
        _ => "this host or origin may not use the control API\n",
    };
    let mut response = HttpResponse::new(HttpBody::from(reason));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    // A stranger does not keep its place among the connections.
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}

/// The service of one connection behind its gate, or without one on the Unix socket.
#[derive(Debug, Clone)]
pub(super) struct Guarded {
    rpc: Rpc,
    gate: Option<Arc<Gate>>,
}

impl Guarded {
    pub(super) fn new(rpc: Rpc, gate: Option<Arc<Gate>>) -> Self {
        Self { rpc, gate }
    }
}

impl<B> Service<Request<B>> for Guarded
where
    Rpc: Service<Request<B>, Response = HttpResponse, Error = BoxError>,
{
    type Response = HttpResponse;
    type Error = BoxError;
    type Future =
        Either<<Rpc as Service<Request<B>>>::Future, Ready<Result<HttpResponse, BoxError>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request<B>>::poll_ready(&mut self.rpc, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.gate.as_ref().map_or(Ok(()), |gate| gate.check(&request)) {
            Ok(()) => Either::Left(self.rpc.call(request)),
            Err(status) => Either::Right(ready(Ok(refuse(status)))),
        }
    }
}
