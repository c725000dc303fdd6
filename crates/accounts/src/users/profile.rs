//! Profiles of users of this node: changed, signed, shown.

use std::sync::Arc;

use peerage_api::users::{LocalUser, ProfileChange, UpdateProfile, User, UsersError};
use peerage_types::{UnixMillis, UserId};
use peerage_wire::identity::{
    Bundle, MAX_BIO_ENTRIES, MAX_MAILBOXES, MAX_SERVICES, Profile, RecordError, Signed, SigningKey,
};

use crate::{
    inner::Inner,
    row::{AccountRow, Fate},
};

pub(super) async fn update(inner: Arc<Inner>, request: UpdateProfile) -> Result<User, UsersError> {
    let UpdateProfile { auth, change } = request;
    inner.check(&auth)?;
    let held = inner.hold(auth.user).await?;
    // The session may have ended while this waited.
    let open = inner.check(&auth)?;
    inner.check_fate(&held.row)?;
    let newest = inner.newest(&held.row);
    let mut profile = newest.record().clone();
    apply(change, &mut profile);
    if profile == *newest.record() {
        return Ok(inner.shown(&newest));
    }
    let last = || UsersError::BadRecord { reason: "its number cannot rise any more".into() };
    profile.seq = profile.seq.checked_add(1).ok_or_else(last)?;
    profile.updated = UnixMillis::now();
    // Whatever was signed elsewhere: a recovery code that was told stays good.
    profile.recovery = held.row.profile.recovery;
    let profile = sign(profile, &open.signing)?;
    let row = AccountRow { profile: profile.clone(), ..held.row.as_ref().clone() };
    inner.save_row(&held, row).await?;
    inner.outside.publish(Bundle { profile: Some(profile.clone()), ..Bundle::default() });
    Ok(inner.shown(&profile))
}

/// What goes, goes before what comes.
fn apply(change: ProfileChange, profile: &mut Profile) {
    change.handle.apply(&mut profile.handle);
    change.display_name.apply(&mut profile.display_name);
    change.avatar.apply(&mut profile.avatar);
    profile.bio.retain(|topic, _| !change.bio_remove.contains(topic));
    profile.bio.extend(change.bio_set);
    profile.services.retain(|service| !change.services_remove.contains(service));
    profile.services.extend(change.services_add);
    profile.mailboxes.retain(|node| !change.mailboxes_remove.contains(node));
    profile.mailboxes.extend(change.mailboxes_add);
}

/// Signs a profile that is within its bounds.
pub(super) fn sign(profile: Profile, key: &SigningKey) -> Result<Signed<Profile>, UsersError> {
    let counts = [
        ("entries of the bio", profile.bio.len(), MAX_BIO_ENTRIES),
        ("services", profile.services.len(), MAX_SERVICES),
        ("mailboxes", profile.mailboxes.len(), MAX_MAILBOXES),
    ];
    if let Some((what, _, max)) = counts.into_iter().find(|(_, count, max)| count > max) {
        return Err(UsersError::TooMany { what: what.into(), max: max as u64 });
    }
    Signed::sign(profile, key).map_err(|error| match error {
        RecordError::TooLarge { bytes, max } => {
            UsersError::ProfileTooLarge { bytes: bytes as u64, max: max as u64 }
        }
        RecordError::Field { field, reason } => {
            UsersError::BadField { field: field.into(), reason: reason.into() }
        }
        other => UsersError::BadRecord { reason: other.to_string() },
    })
}

impl Inner {
    /// The newest profile of a user of this node, which another node of that user may have signed.
    pub(super) fn newest(&self, row: &AccountRow) -> Signed<Profile> {
        let elsewhere = self.outside.profile(&row.user);
        let newer = elsewhere.filter(|profile| profile.seq > row.profile.seq);
        newer.unwrap_or_else(|| row.profile.clone())
    }

    /// What became of the key of a user of this node, if it is no longer valid.
    pub(crate) fn fate(&self, row: &AccountRow) -> Option<Fate> {
        row.fate.or_else(|| self.outside.fate(&row.user).map(Fate::from))
    }

    /// Refuses what a key cannot do that is no longer valid.
    pub(super) fn check_fate(&self, row: &AccountRow) -> Result<(), UsersError> {
        let Some(fate) = self.fate(row) else { return Ok(()) };
        Err(UsersError::Revoked { user: row.user, successor: fate.successor() })
    }

    /// A user of this node with this profile.
    fn shown(&self, profile: &Profile) -> User {
        let user = profile.user;
        // Other nodes of the user are known there.
        let known = self.outside.user(&user).filter(|known| known.seq == profile.seq);
        known.unwrap_or_else(|| self.shown_here(profile))
    }

    fn shown_here(&self, profile: &Profile) -> User {
        let user = profile.user;
        let (presented, row) = {
            let state = self.lock();
            let account = state.accounts.get(&user);
            let open = account.filter(|account| account.open.is_some());
            let presented = open.map(|account| account.presence.issued);
            (presented, account.map(|account| Arc::clone(&account.row)))
        };
        let fate = row.and_then(|row| self.fate(&row));
        User {
            user,
            handle: profile.handle.clone(),
            display_name: profile.display_name.clone(),
            bio: profile.bio.clone(),
            avatar: profile.avatar,
            services: profile.services.clone(),
            mailboxes: profile.mailboxes.clone(),
            seq: profile.seq,
            updated_ms: profile.updated,
            local: true,
            online: presented.is_some(),
            nodes: presented.map(|_| self.outside.node()).into_iter().collect(),
            last_seen_ms: presented,
            revoked: fate.is_some(),
            successor: fate.and_then(Fate::successor),
        }
    }

    /// The users of this node, the oldest first.
    pub(super) fn local_users(&self) -> Vec<LocalUser> {
        self.expire_sessions(UnixMillis::now());
        let rows: Vec<_> = {
            let state = self.lock();
            let counted = |user: &UserId| state.sessions.count(user) as u64;
            let rows = state.accounts.values().map(|account| Arc::clone(&account.row));
            rows.map(|row| (counted(&row.user), row)).collect()
        };
        let shown = |(sessions, row): &(u64, Arc<AccountRow>)| self.local_user(row, *sessions);
        let mut all: Vec<_> = rows.iter().map(shown).collect();
        all.sort_unstable_by_key(|local| (local.created_ms, local.user));
        all
    }

    pub(super) fn local_user(&self, row: &AccountRow, sessions: u64) -> LocalUser {
        let profile = self.newest(row);
        LocalUser {
            user: row.user,
            handle: profile.handle.clone(),
            display_name: profile.display_name.clone(),
            created_ms: row.created,
            sessions,
            deleted: row.deleted,
        }
    }

    /// Tells what users of this node have signed, whether or not they are logged in.
    pub(crate) fn publish_all(&self) {
        let rows: Vec<_> =
            self.lock().accounts.values().map(|account| Arc::clone(&account.row)).collect();
        for row in rows {
            row.predecessors.iter().for_each(|before| self.outside.publish(before.bundle()));
            if !row.deleted && row.fate.is_none() {
                let profile = Some(row.profile.clone());
                self.outside.publish(Bundle { profile, ..Bundle::default() });
            }
        }
    }
}
