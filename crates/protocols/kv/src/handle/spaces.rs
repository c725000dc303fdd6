//! Spaces: made, granted, joined and left.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use peerage_api::kv::{
    GrantRequest, KvError, MAX_SPACE_NAME, MakeTicket, SpaceCreate, SpaceGrant, SpaceInfo,
    SpaceJoin, SpaceKind, SpaceRevoke, SpaceTicket,
};
use peerage_types::{Hlc, Space, SpaceId, UnixMillis};
use peerage_wire::{
    identity::SigningKey,
    kv::{
        grant::{GrantId, Grantee, MAX_PREFIX_BYTES, space_key},
        ticket::{Holder, SpaceTicket as Ticket},
    },
};

use super::{Kv, Users};
use crate::{
    grants::{Grants, Terms, founding},
    replica::{Joined, Signer},
};

impl Kv {
    pub(super) async fn create(
        self,
        ask: SpaceCreate,
        users: Arc<dyn Users>,
    ) -> Result<SpaceInfo, KvError> {
        let name = checked(ask.name)?;
        let signer = self.signer(ask.auth.as_ref(), &users)?;
        let key = space_key(&signer.key, &name);
        let (id, now) = (SpaceId(key.verifying_key().to_bytes()), UnixMillis::now());
        let mut grants = Grants::new(id);
        let mut records = vec![founding(&key, signer.author).bytes().clone()];
        insert(&mut grants, &records)?;
        // The node of a user must prove to others that it may have the space.
        records.extend(self.pass_on(&grants, signer.author.into(), &signer.key, now)?);
        self.0.replica.join_space(id, SpaceKind::Owned, name, now).await?;
        self.0.replica.add_grants(&id, records, now).await?;
        self.tell(|outbox| outbox.joined.push(id));
        self.show(Space::Owned(id))
    }

    pub(super) fn spaces(&self) -> Vec<SpaceInfo> {
        let all = self.0.replica.spaces();
        all.into_iter().map(|joined| self.info(joined, false)).collect()
    }

    pub(super) fn show(&self, space: Space) -> Result<SpaceInfo, KvError> {
        let id = self.0.replica.resolve(space)?;
        let joined = self.0.replica.spaces().into_iter().find(|joined| joined.id == id);
        joined.map(|joined| self.info(joined, true)).ok_or(KvError::NoSuchSpace { space })
    }

    fn info(&self, joined: Joined, with_grants: bool) -> SpaceInfo {
        let Joined { id, name, kind, entries, bytes, .. } = joined;
        let owned = (kind != SpaceKind::Default).then_some(id);
        let grants = owned.and_then(|id| self.0.replica.grants(&id));
        let now = UnixMillis::now();
        let rights = match &grants {
            None => Some(peerage_api::kv::Rights::Write),
            Some(grants) => grants.rights(&self.0.local.author, now),
        };
        let grants = grants.filter(|_| with_grants).map(|grants| grants.list());
        let (access, revoked_ms) = self.0.replica.access(&id, now);
        SpaceInfo {
            space: owned,
            name,
            kind,
            rights,
            access,
            revoked_ms,
            last_refusal: self.0.replica.last_refusal(&id),
            entries,
            bytes,
            grants: grants.unwrap_or_default(),
        }
    }

    pub(super) async fn grant(
        self,
        ask: SpaceGrant,
        users: Arc<dyn Users>,
    ) -> Result<SpaceTicket, KvError> {
        let signer = self.signer(ask.auth.as_ref(), &users)?;
        let now = UnixMillis::now();
        let terms = Terms::requested(&ask.grant, now);
        self.issue(ask.space, &signer, terms, Holder::Named(ask.grant.to), now).await
    }

    pub(super) async fn ticket(
        self,
        ask: MakeTicket,
        users: Arc<dyn Users>,
    ) -> Result<SpaceTicket, KvError> {
        let signer = self.signer(ask.auth.as_ref(), &users)?;
        let (invite, now) = (SigningKey::from_bytes(&rand::random()), UnixMillis::now());
        let request = GrantRequest {
            // Replaced below.
            to: signer.author,
            rights: ask.rights,
            prefix: ask.prefix,
            ttl_ms: ask.ttl_ms,
        };
        let holder = Holder::Anyone(invite);
        let terms = Terms { to: holder.grantee(), ..Terms::requested(&request, now) };
        self.issue(ask.space, &signer, terms, holder, now).await
    }

    async fn issue(
        &self,
        id: SpaceId,
        signer: &Signer,
        terms: Terms,
        holder: Holder,
        now: UnixMillis,
    ) -> Result<SpaceTicket, KvError> {
        let space = Space::Owned(id);
        check_prefix(&terms.prefix)?;
        let joined = self.joined(id)?;
        let grants = self.grants(id)?;
        let own = space_key(&signer.key, &joined.name);
        let made = if SpaceId(own.verifying_key().to_bytes()) == id {
            grants.issue(&own, None, terms, now, rand::random())
        } else {
            let what = format!("pass on access to {:?}", terms.prefix);
            let parent = grants.best_to_delegate(signer.author.into(), &terms, now);
            let parent = parent.ok_or(KvError::NoGrant { space, what })?;
            grants.issue(&signer.key, Some(parent), terms, now, rand::random())
        };
        let made = made.map_err(|error| bad("grant", &error))?;
        self.0.replica.add_grants(&id, vec![made.bytes().clone()], now).await?;
        self.tell(|outbox| outbox.joined.push(id));
        let grants = self.grants(id)?;
        let grant = grants.shown(&made.id()).ok_or_else(|| no_such(id, &made.id().to_string()))?;
        let ticket = Ticket {
            space: id,
            name: joined.name,
            holder,
            grants: grants.chain_of(&made.id()).unwrap_or_default(),
            peers: self.whereabouts(),
        };
        let ticket = ticket.encode().map_err(|error| bad("ticket", &error))?;
        Ok(SpaceTicket { ticket, grant })
    }

    pub(super) async fn revoke(
        self,
        ask: SpaceRevoke,
        users: Arc<dyn Users>,
    ) -> Result<(), KvError> {
        let signer = self.signer(ask.auth.as_ref(), &users)?;
        let (id, now) = (ask.space, UnixMillis::now());
        let grants = self.grants(id)?;
        let grant = grant_id(&ask.grant)?;
        if grants.shown(&grant).is_none() {
            return Err(no_such(id, &grant.to_string()));
        }
        let own = space_key(&signer.key, &self.joined(id)?.name);
        let key = if own.verifying_key().as_bytes() == &id.0 { &own } else { &*signer.key };
        if !grants.may_revoke(key.verifying_key().as_bytes(), &grant) {
            let what = format!("take {grant} back");
            return Err(KvError::NoGrant { space: Space::Owned(id), what });
        }
        if let Some(at_ms) = grants.revoked(&grant) {
            let (space, id) = (Space::Owned(id), grant.to_string());
            return Err(KvError::AlreadyRevoked { space, id, at_ms });
        }
        let made = grants.revoke(key, grant, Hlc::new(now, u16::MAX));
        let made = made.map_err(|error| bad("grant", &error))?;
        self.0.replica.add_grants(&id, vec![made.bytes().clone()], now).await?;
        self.tell(|outbox| outbox.joined.push(id));
        Ok(())
    }

    pub(super) async fn join(
        self,
        ask: SpaceJoin,
        users: Arc<dyn Users>,
    ) -> Result<SpaceInfo, KvError> {
        let now = UnixMillis::now();
        let name = ask.name.map(checked).transpose()?;
        let user = ask.auth.as_ref().map(|auth| users.signer(auth)).transpose()?;
        let (id, offered, records, peers) = match ask.ticket.trim().parse::<SpaceId>() {
            Ok(id) => (id, String::new(), Vec::new(), Vec::new()),
            Err(_) => self.open_ticket(&ask.ticket, user.as_ref(), now)?,
        };
        let kind = match self.joined(id) {
            Ok(joined) => joined.kind,
            Err(_) => SpaceKind::Joined,
        };
        let name = name.unwrap_or(if offered.is_empty() { short(&id) } else { offered });
        self.0.replica.join_space(id, kind, name, now).await?;
        self.0.replica.add_grants(&id, records, now).await?;
        self.tell(|outbox| {
            outbox.joined.push(id);
            outbox.connect.extend(peers);
        });
        self.show(Space::Owned(id))
    }

    /// What a ticket says, with the grants that it gives this node and the user.
    fn open_ticket(
        &self,
        text: &str,
        user: Option<&Signer>,
        now: UnixMillis,
    ) -> Result<(SpaceId, String, Vec<Bytes>, Vec<super::Whereabouts>), KvError> {
        let worthless = |reason: &str| KvError::BadTicket { reason: reason.into() };
        let ticket = Ticket::decode(text).map_err(|e| worthless(&e.to_string()))?;
        let Ticket { space, name, holder, grants: chain, peers } = ticket;
        let mut records: Vec<_> = chain.iter().map(|grant| grant.bytes().clone()).collect();
        let mut grants = Grants::new(space);
        insert(&mut grants, &records)?;
        let from = holder.grantee();
        let passed = match (holder, user) {
            (Holder::Anyone(invite), user) => {
                let mut passed = self.pass_on(&grants, from, &invite, now)?;
                if let Some(user) = user {
                    passed.extend(pass_on(&grants, from, user.author.into(), &invite, now)?);
                }
                passed
            }
            (Holder::Named(author), _) if author == self.0.local.author => Vec::new(),
            (Holder::Named(author), Some(user)) if author == user.author => {
                self.pass_on(&grants, from, &user.key, now)?
            }
            (Holder::Named(author), _) => {
                return Err(worthless(&format!("it is for {author}; join as that one")));
            }
        };
        records.extend(passed);
        insert(&mut grants, &records)?;
        if grants.rights(&self.0.local.author, now).is_none() {
            return Err(worthless("its time is over"));
        }
        Ok((space, name, records, peers))
    }

    pub(super) async fn leave(self, id: SpaceId) -> Result<(), KvError> {
        self.0.replica.leave_space(id).await?;
        self.tell(|outbox| outbox.left.push(id));
        Ok(())
    }

    /// What `from` has, for this node.
    fn pass_on(
        &self,
        grants: &Grants,
        from: Grantee,
        key: &SigningKey,
        now: UnixMillis,
    ) -> Result<Vec<Bytes>, KvError> {
        pass_on(grants, from, self.0.local.author.into(), key, now)
    }

    fn joined(&self, id: SpaceId) -> Result<Joined, KvError> {
        let joined = self.0.replica.spaces().into_iter().find(|joined| joined.id == id);
        joined.ok_or(KvError::NoSuchSpace { space: Space::Owned(id) })
    }

    fn grants(&self, id: SpaceId) -> Result<Arc<Grants>, KvError> {
        let grants = self.0.replica.grants(&id);
        grants.ok_or(KvError::NoSuchSpace { space: Space::Owned(id) })
    }

    fn whereabouts(&self) -> Vec<super::Whereabouts> {
        let addresses = self.0.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.0.local.author.peer().map(|peer| (peer, addresses)).into_iter().collect()
    }
}

/// What `from` has, as far as `to` does not have it.
fn pass_on(
    grants: &Grants,
    from: Grantee,
    to: Grantee,
    key: &SigningKey,
    now: UnixMillis,
) -> Result<Vec<Bytes>, KvError> {
    if from == to {
        return Ok(Vec::new());
    }
    let each = grants.to_pass_on(from, to, now).into_iter();
    let each =
        each.map(|(parent, terms)| grants.issue(key, Some(parent), terms, now, rand::random()));
    let made = each.map(|made| made.map(|made| made.bytes().clone()));
    made.collect::<Result<_, _>>().map_err(|error| bad("grant", &error))
}

fn insert(grants: &mut Grants, records: &[Bytes]) -> Result<(), KvError> {
    for record in records {
        let inserted = grants.insert(record.clone());
        inserted.map_err(|error| KvError::BadTicket { reason: error.to_string() })?;
    }
    Ok(())
}

fn checked(name: String) -> Result<String, KvError> {
    let field = |reason: String| Err(KvError::BadField { field: "the name".into(), reason });
    match name.len() {
        0 => field("is empty".into()),
        1..=MAX_SPACE_NAME if name.chars().any(char::is_control) => {
            field("has control characters".into())
        }
        1..=MAX_SPACE_NAME if name == "default" => field("is taken by the default space".into()),
        1..=MAX_SPACE_NAME => Ok(name),
        bytes => field(format!("has {bytes} bytes; the most is {MAX_SPACE_NAME}")),
    }
}

/// Whether keys can begin so.
fn check_prefix(prefix: &str) -> Result<(), KvError> {
    let (bytes, max) = (prefix.len() as u64, MAX_PREFIX_BYTES as u64);
    if bytes > max {
        return Err(KvError::TooLarge { what: "the prefix".into(), bytes, max });
    }
    match prefix.contains('\0') {
        true => Err(bad("prefix", &"has a NUL character, which no key has")),
        false => Ok(()),
    }
}

/// The id of a grant as people copy it.
fn grant_id(text: &str) -> Result<GrantId, KvError> {
    let id = GrantId::parse(&text.trim().to_ascii_lowercase());
    let no_id = "must be 32 hexadecimal digits; `peerage kv space show` lists the grants";
    id.ok_or_else(|| bad("id of the grant", &no_id))
}

/// How a space is called that was joined by its id.
fn short(id: &SpaceId) -> String {
    id.to_string().chars().take(14).collect()
}

fn bad(field: &str, error: &impl ToString) -> KvError {
    KvError::BadField { field: format!("the {field}"), reason: error.to_string() }
}

fn no_such(id: SpaceId, grant: &str) -> KvError {
    KvError::NoSuchGrant { space: Space::Owned(id), id: grant.chars().take(64).collect() }
}
