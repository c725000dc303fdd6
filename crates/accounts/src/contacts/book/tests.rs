use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
};

use peerage_api::{Feeding, contacts::ContactChange, users::Auth, users::Update};
use peerage_store::{SealedKind, Store};
use peerage_types::{ContentHash, Handle, PeerId};
use peerage_wire::identity::{Bundle, Profile, Signed, SigningKey};
use tokio::sync::mpsc;

use super::*;
use crate::contacts::row::{MAX_EARLIER, PLACE};

const ACCOUNT: AccountId = AccountId([1; 16]);
const ME: UserId = UserId([0xff; 32]);
const NOW: UnixMillis = UnixMillis(1_000);

/// What is known of others.
#[derive(Debug, Default)]
struct World(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    profiles: HashMap<UserId, Signed<Profile>>,
    fates: HashMap<UserId, Option<UserId>>,
    pins: HashMap<UserId, i32>,
}

impl World {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap()
    }

    /// Somebody with a handle.
    fn person(&self, id: u8, handle: &str) -> UserId {
        let signing = SigningKey::from_bytes(&[id; 32]);
        let user = UserId(signing.verifying_key().to_bytes());
        let seq = self.known().profiles.get(&user).map_or(1, |known| known.seq + 1);
        let profile = Profile {
            user,
            seq,
            handle: Some(Handle::new(handle).unwrap()),
            display_name: None,
            bio: BTreeMap::new(),
            avatar: None,
            services: BTreeSet::new(),
            mailboxes: BTreeSet::new(),
            recovery: ContentHash([0; 32]),
            updated: NOW,
        };
        let signed = Signed::sign(profile, &signing).unwrap();
        self.known().profiles.insert(user, signed);
        user
    }

    fn pinned(&self) -> Vec<i32> {
        self.known().pins.values().copied().filter(|count| *count != 0).collect()
    }
}

impl Outside for World {
    fn node(&self) -> PeerId {
        unreachable!("no book asks")
    }

    fn publish(&self, _: Bundle) {
        unreachable!("a book is private");
    }

    fn release(&self, _: &UserId) {
        unreachable!("a book is private");
    }

    fn profile(&self, user: &UserId) -> Option<Signed<Profile>> {
        self.known().profiles.get(user).cloned()
    }

    fn fate(&self, user: &UserId) -> Option<Option<UserId>> {
        self.known().fates.get(user).copied()
    }

    fn user(&self, _: &UserId) -> Option<peerage_api::users::User> {
        None
    }

    fn met_again(&self) -> Option<UnixMillis> {
        None
    }

    fn is_online(&self, _: &UserId) -> bool {
        false
    }

    fn named(&self, handle: &Handle) -> Vec<UserId> {
        let known = self.known();
        let same = |profile: &&Signed<Profile>| {
            profile.handle.as_ref().is_some_and(|own| fold(own.as_str()) == fold(handle.as_str()))
        };
        let mut named: Vec<_> =
            known.profiles.values().filter(same).map(|profile| profile.user).collect();
        named.sort();
        named
    }

    fn pin(&self, user: &UserId) {
        *self.known().pins.entry(*user).or_default() += 1;
    }

    fn unpin(&self, user: &UserId) {
        *self.known().pins.entry(*user).or_default() -= 1;
    }
}

struct Desk {
    store: Store,
    master: SealKey,
    world: Arc<World>,
}

impl Desk {
    fn new() -> Self {
        let master = SealKey::new([9; 32]);
        Self { store: Store::in_memory(), master, world: Arc::default() }
    }

    async fn load(&self) -> Book {
        let (master, store, world) = (self.master.clone(), self.store.clone(), self.world.clone());
        let load = move || Book::load(ACCOUNT, ME, &master, &store, world);
        tokio::task::spawn_blocking(load).await.unwrap().unwrap()
    }

    /// What a call does, without turns.
    async fn write(&self, book: &mut Book, edit: Edit) {
        self.store.accounts().apply(book.seal(&edit).unwrap()).await.unwrap();
        book.adopt(edit);
    }

    async fn set(&self, book: &mut Book, contact: UserId, change: ContactChange) {
        let edit = book.plan_put(&contact, NOW, |row| row.changed(change)).unwrap();
        self.write(book, edit).await;
    }

    async fn block(&self, book: &mut Book, contact: UserId) {
        let blocked = |row| Ok(Row { blocked: true, ..row });
        let edit = book.plan_put(&contact, NOW, blocked).unwrap();
        self.write(book, edit).await;
    }

    fn rows(&self) -> Vec<(peerage_store::SealedKey, bytes::Bytes)> {
        self.store.accounts().sealed_blocking(ACCOUNT, SealedKind::Contact, PLACE).unwrap()
    }

    async fn damage(&self, book: &Book, contact: &UserId) {
        let at = book.keys.at(contact);
        let mut row = self.store.accounts().get(at).await.unwrap().unwrap().to_vec();
        row[30] ^= 1;
        let change = AccountChange::Sealed(at, Some(row.into()));
        self.store.accounts().apply(vec![change]).await.unwrap();
    }
}

fn nick(text: &str) -> ContactChange {
    ContactChange { nick: Update::Set(text.into()), ..ContactChange::default() }
}

fn ids(paged: &Paged<Contact>) -> Vec<u8> {
    paged.items.iter().map(|contact| contact.user.0[0]).collect()
}

fn list(book: &Book, limit: u32, after: Option<String>) -> Paged<Contact> {
    book.list(ContactQuery::default(), &Page { limit, after }).unwrap()
}

fn watch(book: &mut Book) -> mpsc::Receiver<Feeding<Event>> {
    let (open, _, items) = Open::new(Watch { auth: Auth { user: ME, token: None } }, 256);
    book.watch(open);
    items
}

fn told(items: &mut mpsc::Receiver<Feeding<Event>>) -> Vec<Event> {
    let next = || match items.try_recv() {
        Ok(Feeding::Item(event)) => Some(event),
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

#[tokio::test]
async fn a_book_is_as_it_was_after_the_next_login() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [one, two, three] = [1, 2, 3].map(|id| UserId([id; 32]));
    for contact in [one, two, three] {
        desk.set(&mut book, contact, nick("x")).await;
    }
    desk.set(&mut book, two, nick("y")).await;
    let edit = book.plan_removal(&three).unwrap();
    desk.write(&mut book, edit).await;
    desk.block(&mut book, UserId([4; 32])).await;
    let again = desk.load().await;
    assert_eq!(ids(&list(&again, 10, None)), [1, 2, 4]);
    assert_eq!(again.get(&two).unwrap(), book.get(&two).unwrap());
    assert_eq!(again.get(&two).unwrap().nick.as_deref(), Some("y"));
    assert_eq!(again.blocked(), [UserId([4; 32])].into());
    let gone = ContactsError::NoSuchContact { contact: three };
    assert_eq!(again.get(&three), Err(gone.clone()));
    assert_eq!(again.plan_removal(&three).unwrap_err(), gone);
    assert_eq!(book.plan_put(&ME, NOW, Ok).unwrap_err(), ContactsError::Own {});
}

#[tokio::test]
async fn a_page_of_n_has_n_when_there_are_n() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    for id in 0..7 {
        desk.set(&mut book, UserId([id; 32]), nick("x")).await;
    }
    let all = list(&book, 7, None);
    assert_eq!((all.items.len(), all.next), (7, None));
    let first = list(&book, 3, None);
    assert_eq!(ids(&first), [0, 1, 2]);
    let second = list(&book, 3, first.next);
    assert_eq!(ids(&second), [3, 4, 5]);
    let third = list(&book, 3, second.next);
    assert_eq!((ids(&third), third.next), (vec![6], None));
    let wrong = Page { limit: 1, after: Some("user1".into()) };
    let refused = book.list(ContactQuery::default(), &wrong);
    assert!(matches!(refused, Err(ContactsError::BadField { .. })));
}

#[tokio::test]
async fn a_damaged_row_is_kept_and_told_to_whoever_asks_for_it() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [one, two] = [1, 2].map(|id| UserId([id; 32]));
    desk.set(&mut book, one, nick("x")).await;
    desk.set(&mut book, two, nick("x")).await;
    desk.damage(&book, &one).await;
    let before = desk.rows();
    let mut again = desk.load().await;
    assert_eq!(ids(&list(&again, 10, None)), [2]);
    let damaged = |outcome: Option<ContactsError>| {
        assert!(matches!(outcome, Some(ContactsError::Damaged { user: ME, .. })), "{outcome:?}");
    };
    damaged(again.get(&one).err());
    damaged(again.plan_put(&one, NOW, Ok).err());
    damaged(again.plan_removal(&one).err());
    damaged(again.plan_unblock(&one, NOW).err());
    desk.set(&mut again, UserId([3; 32]), nick("x")).await;
    assert!(before.iter().all(|row| desk.rows().contains(row)), "nothing is lost");
    desk.damage(&book, &two).await;
    desk.damage(&again, &UserId([3; 32])).await;
    let nothing = desk.load().await.list(ContactQuery::default(), &Page::default());
    damaged(nothing.err());
}

#[tokio::test]
async fn contacts_are_pinned_while_the_book_is_open() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [one, two] = [1, 2].map(|id| UserId([id; 32]));
    desk.set(&mut book, one, nick("x")).await;
    desk.set(&mut book, one, nick("y")).await;
    desk.set(&mut book, two, nick("x")).await;
    let edit = book.plan_removal(&two).unwrap();
    desk.write(&mut book, edit).await;
    assert_eq!(desk.world.pinned(), [1]);
    let again = desk.load().await;
    assert_eq!(desk.world.pinned(), [2]);
    drop((book, again));
    assert!(desk.world.pinned().is_empty());
}

#[tokio::test]
async fn what_a_contact_calls_itself_is_remembered_when_nobody_else_does() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let alice = desk.world.person(1, "alice");
    desk.set(&mut book, alice, nick("x")).await;
    let mut items = watch(&mut book);
    desk.world.person(1, "alicia");
    assert!(book.on_changed(&alice), "it is to be written");
    assert_eq!(told(&mut items), [Event::Changed { contact: alice }]);
    let edit = book.plan_rewrite(&alice).unwrap();
    desk.write(&mut book, edit).await;
    assert!(!book.on_changed(&alice), "it is the same");
    desk.world.known().profiles.clear();
    let again = desk.load().await;
    assert_eq!(again.get(&alice).unwrap().handle, Some(Handle::new("alicia").unwrap()));
    let query = ContactQuery { text: Some("ALICIA".into()), ..ContactQuery::default() };
    assert_eq!(again.list(query, &Page::default()).unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_newer_profile_survives_a_change_that_was_on_its_way() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let alice = desk.world.person(1, "alice");
    desk.set(&mut book, alice, nick("x")).await;
    let edit = book.plan_put(&alice, NOW, |row| row.changed(nick("y"))).unwrap();
    desk.world.person(1, "alicia");
    assert!(book.on_changed(&alice));
    desk.write(&mut book, edit).await;
    desk.world.known().profiles.clear();
    let contact = book.get(&alice).unwrap();
    assert_eq!((contact.nick.as_deref(), contact.handle.unwrap().as_str()), (Some("y"), "alicia"));
}

#[tokio::test]
async fn a_contact_moves_with_all_that_was_noted_and_is_to_be_verified_again() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [old, new] = [1, 2].map(|id| UserId([id; 32]));
    let noted = |row: Row| Row { trust: 70, verified: true, ..row }.changed(nick("Ally"));
    let edit = book.plan_put(&old, NOW, noted).unwrap();
    desk.write(&mut book, edit).await;
    assert!(book.plan_move(&old, NOW).is_none(), "its key is valid");
    desk.world.known().fates.insert(old, Some(new));
    let mut items = watch(&mut book);
    let edit = book.plan_move(&old, NOW).unwrap();
    desk.write(&mut book, edit).await;
    assert_eq!(told(&mut items), [Event::Moved { from: old, to: new }]);
    for book in [&book, &desk.load().await] {
        let moved = book.get(&new).unwrap();
        assert_eq!((moved.nick.as_deref(), moved.trust, moved.verified), (Some("Ally"), 70, false));
        assert_eq!(moved.moved_from, Some(old));
        assert!(!book.has(&old));
    }
    assert_eq!(desk.rows().len(), 1);
}

#[tokio::test]
async fn contacts_follow_chains_of_moves_at_the_next_login() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [a, b, c, d] = [1, 2, 3, 4].map(|id| UserId([id; 32]));
    desk.set(&mut book, a, nick("from a")).await;
    desk.block(&mut book, d).await;
    desk.world.known().fates =
        HashMap::from([(a, Some(b)), (b, Some(c)), (c, None), (d, Some(ME))]);
    let again = desk.load().await;
    assert_eq!(again.get(&c).unwrap().nick.as_deref(), Some("from a"));
    assert!(!again.has(&a) && !again.has(&b));
    assert!(again.has(&d) && !again.has(&ME), "nobody becomes its own contact");
    desk.store.flush().await.unwrap();
    desk.world.known().fates.clear();
    assert_eq!(desk.load().await.get(&c).unwrap().moved_from, Some(a), "it was written");
    // A circle is no way to keep a login busy for ever.
    desk.world.known().fates = HashMap::from([(c, Some(a)), (a, Some(c))]);
    assert_eq!(list(&desk.load().await, 10, None).items.len(), 2);
}

#[tokio::test]
async fn a_move_to_a_known_key_keeps_its_entry_and_nobody_escapes_a_block() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [old, new] = [1, 2].map(|id| UserId([id; 32]));
    desk.block(&mut book, old).await;
    desk.set(&mut book, new, nick("new")).await;
    desk.world.known().fates.insert(old, Some(new));
    let edit = book.plan_move(&old, NOW).unwrap();
    desk.write(&mut book, edit).await;
    let merged = book.get(&new).unwrap();
    assert_eq!((merged.nick.as_deref(), merged.blocked), (Some("new"), true));
    assert_eq!(book.blocked(), [old, new].into(), "nor does the old key come back");
}

#[tokio::test]
async fn who_is_blocked_is_so_by_all_keys_it_had() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let keys: Vec<_> = (1..=50).map(|id| UserId([id; 32])).collect();
    desk.block(&mut book, keys[0]).await;
    for (step, moved) in keys.windows(2).enumerate() {
        desk.world.known().fates.insert(moved[0], Some(moved[1]));
        if step % 3 == 0 {
            let first = *book.blocked().iter().find(|key| book.has(key)).unwrap();
            let edit = book.plan_move(&first, NOW).unwrap();
            desk.write(&mut book, edit).await;
        }
    }
    let blocked = desk.load().await.blocked();
    assert_eq!(blocked.len(), 2 + MAX_EARLIER);
    assert!(keys[keys.len() - blocked.len()..].iter().all(|key| blocked.contains(key)));
}

#[tokio::test]
async fn whoever_is_blocked_by_a_former_key_is_blocked_by_the_live_one() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [a, b, c, stranger] = [1, 2, 3, 4].map(|id| UserId([id; 32]));
    desk.world.known().fates = HashMap::from([(a, Some(b)), (b, Some(c))]);
    let mut items = watch(&mut book);
    desk.block(&mut book, a).await;
    assert_eq!(told(&mut items), [Event::Changed { contact: c }]);
    assert_eq!(book.get(&c).unwrap().moved_from, Some(a));
    for key in [a, b, c] {
        assert!(book.is_blocked(&key) && book.get(&key).unwrap().user == c);
    }
    assert!(!book.is_blocked(&stranger));
    assert_eq!(book.blocked(), [a, b, c].into());
    assert_eq!(desk.rows().len(), 1);
    desk.world.known().fates.clear();
    assert!(book.is_blocked(&a), "the book remembers when nobody else does");
    let refused = ContactsError::Revoked { contact: a, successor: Some(c) };
    assert_eq!(book.check_valid(&a), Err(refused), "safety numbers are those of one key");
    let edit = book.plan_unblock(&a, NOW).unwrap();
    desk.write(&mut book, edit).await;
    assert!(!book.is_blocked(&c));
    let edit = book.plan_removal(&b).unwrap();
    desk.write(&mut book, edit).await;
    assert!(!book.has(&c) && desk.rows().is_empty());
}

#[tokio::test]
async fn a_change_by_a_former_key_takes_its_entry_along() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let [old, new, mine] = [1, 2, 3].map(|id| UserId([id; 32]));
    desk.set(&mut book, old, nick("Ally")).await;
    desk.world.known().fates = HashMap::from([(old, Some(new)), (mine, Some(ME))]);
    let mut items = watch(&mut book);
    desk.block(&mut book, old).await;
    assert_eq!(told(&mut items), [Event::Moved { from: old, to: new }]);
    let moved = book.get(&old).unwrap();
    let seen = (moved.user, moved.nick.as_deref(), moved.blocked, moved.moved_from);
    assert_eq!(seen, (new, Some("Ally"), true, Some(old)));
    assert!(!book.has(&old) && desk.rows().len() == 1);
    let own = book.plan_put(&mine, NOW, Ok).unwrap_err();
    assert_eq!(own, ContactsError::Own {}, "nor by a key that one had before");
}

#[tokio::test]
async fn a_revoked_contact_is_marked_and_cannot_be_verified() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let bob = UserId([1; 32]);
    let edit = book.plan_put(&bob, NOW, |row| Ok(Row { verified: true, ..row })).unwrap();
    desk.write(&mut book, edit).await;
    let seen = |book: &Book| {
        let contact = book.get(&bob).unwrap();
        let query = ContactQuery { verified: Some(true), ..ContactQuery::default() };
        let found = book.list(query, &Page::default()).unwrap().items.len();
        (contact.revoked, contact.verified, found)
    };
    assert_eq!((seen(&book), book.check_valid(&bob)), ((false, true, 1), Ok(())));
    desk.world.known().fates.insert(bob, None);
    assert_eq!(seen(&book), (true, false, 0));
    let refused = ContactsError::Revoked { contact: bob, successor: None };
    assert_eq!(book.check_valid(&bob), Err(refused));
}

#[tokio::test]
async fn a_lookalike_is_warned_of_once_from_either_side() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let alice = desk.world.person(1, "alice");
    desk.set(&mut book, alice, ContactChange::default()).await;
    let mut items = watch(&mut book);
    let eve = desk.world.person(2, "ALICE");
    book.on_changed(&eve);
    book.on_changed(&eve);
    let handle = Handle::new("ALICE").unwrap();
    assert_eq!(told(&mut items), [Event::Lookalike { contact: alice, other: eve, handle }]);
    assert_eq!(book.get(&alice).unwrap().lookalikes, [eve]);
    book.on_changed(&alice);
    assert_eq!(told(&mut items), [Event::Changed { contact: alice }], "that pair is known");
    let mallory = desk.world.person(3, "bob");
    book.on_changed(&mallory);
    assert_eq!(told(&mut items), []);
    desk.world.person(1, "bob");
    book.on_changed(&alice);
    let handle = Handle::new("bob").unwrap();
    let lookalike = Event::Lookalike { contact: alice, other: mallory, handle };
    assert_eq!(told(&mut items), [Event::Changed { contact: alice }, lookalike]);
    desk.world.known().fates.insert(mallory, None);
    assert_eq!(book.get(&alice).unwrap().lookalikes, [], "a revoked key fools nobody");
}

#[tokio::test]
async fn a_key_to_which_a_contact_moves_is_no_lookalike_while_its_entry_is_on_the_way() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let alice = desk.world.person(1, "alice");
    desk.set(&mut book, alice, ContactChange::default()).await;
    let mut items = watch(&mut book);
    let next = desk.world.person(2, "alice");
    desk.world.known().fates.insert(alice, Some(next));
    book.on_changed(&next);
    assert_eq!(told(&mut items), []);
    assert_eq!(book.get(&alice).unwrap().lookalikes, []);
}

#[tokio::test]
async fn nothing_is_heard_of_blocked_users() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let (alice, eve) = (desk.world.person(1, "alice"), desk.world.person(2, "alice"));
    desk.set(&mut book, alice, ContactChange::default()).await;
    desk.block(&mut book, eve).await;
    let mut items = watch(&mut book);
    book.on_changed(&eve);
    assert_eq!(told(&mut items), []);
    book.on_changed(&alice);
    assert_eq!(told(&mut items), [Event::Changed { contact: alice }]);
}

#[tokio::test]
async fn a_closed_book_takes_no_more_changes_and_ends_its_readers() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    let mut items = watch(&mut book);
    let edit = book.plan_put(&UserId([1; 32]), NOW, Ok).unwrap();
    book.close();
    let refused = AuthError::NotAuthorised { user: ME };
    assert_eq!(book.seal(&edit).unwrap_err(), ContactsError::Auth(refused));
    assert!(items.recv().await.is_none());
}

#[tokio::test]
async fn contacts_and_readers_are_bounded() {
    let desk = Desk::new();
    let mut book = desk.load().await;
    for id in 0..MAX_CONTACTS {
        let mut user = [0; 32];
        user[..8].copy_from_slice(&id.to_be_bytes());
        book.insert(Row::new(UserId(user), NOW));
    }
    let refused = book.plan_put(&UserId([1; 32]), NOW, Ok).unwrap_err();
    assert!(matches!(refused, ContactsError::TooMany { max: 10_000, .. }));
    assert!(book.plan_put(&UserId([0; 32]), NOW, Ok).is_ok());
    assert_eq!(list(&book, 1000, None).items.len(), 1000);
    let readers: Vec<_> = (0..MAX_READERS).map(|_| watch(&mut book)).collect();
    let (open, mut granted, _) = Open::new(Watch { auth: Auth { user: ME, token: None } }, 1);
    book.watch(open);
    assert!(matches!(granted.try_recv(), Ok(Err(ContactsError::TooMany { .. }))));
    drop(readers);
    watch(&mut book);
    assert_eq!(book.readers.len(), 1);
}
