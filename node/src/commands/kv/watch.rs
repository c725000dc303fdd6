//! `kv watch`: changes as they happen.

use peerage_api::kv::{About, Event, Kv, KvError, Op, Value};

use super::{
    super::{Context, Until},
    shapes::{self, Change, Omitted},
    store::{Place, Store},
};
use crate::{
    failed::Failed,
    output::{Output, bytes, printable},
};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  peerage kv watch settings/
  peerage kv watch --from 0                  everything there is, and then what comes
  peerage kv watch --from 1042 --json        what came after number 1042, without a gap

  peerage kv watch logos/ --large --json     also values over 64 KiB, while they are current

Each change has a sequence number of this node, which survives restarts: a script that notes the
last one it has seen goes on from there. A version that was overwritten long ago is left out.

Of values over 64 KiB type, size and hash (BLAKE3) are told, with --json `omitted` is `large` then,
and `gone` if the value is no longer kept. What is gone because its time was over has `expired`.")]
pub(super) struct Watch {
    /// What the keys begin with
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Changes after this sequence number first; 0 for everything
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    /// Also the values over 64 KiB, one after the other, while they are current
    #[arg(long)]
    large: bool,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    until: Until,
}

pub(super) async fn run(context: Context<'_>, args: Watch) -> Result<(), Failed> {
    let Watch { prefix, from, large, place, until } = args;
    let store = Store::new(context).await?;
    let kv = store.open(&place).await?;
    let mut feed = store.ask(kv.watch(prefix, from)).await?;
    let out = context.out;
    out.note("watching; end with ctrl-C");
    let show = async |event: &Event| match large {
        true => told(out, &fetched(&store, &kv, event).await?),
        false => told(out, event),
    };
    until.each(out, &mut feed, show).await
}

fn told(out: Output, event: &Event) -> Result<(), Failed> {
    out.item(&Change::of(event), |_| happened(event))
}

/// The same with its value, if that was left out and is still current.
async fn fetched(store: &Store<'_>, kv: &Kv, event: &Event) -> Result<Event, Failed> {
    let mut event = event.clone();
    if Omitted::of(event.value.as_ref(), event.about.as_ref()) != Some(Omitted::Large) {
        return Ok(event);
    }
    let found = async {
        match kv.get(event.key.clone()).await {
            Err(KvError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    };
    let found = store.ask(found).await?.filter(|entry| entry.revision == event.revision);
    if found.is_none() {
        event.about.iter_mut().for_each(|about| about.current = false);
    }
    event.value = found.map(|entry| entry.value);
    Ok(event)
}

/// Characters of a value in a line.
const VALUE_WIDTH: usize = 80;

/// Digits of a hash in a line.
const HASH_WIDTH: usize = 16;

fn happened(event: &Event) -> String {
    let old = match (&event.old, &event.old_about) {
        (Some(old), _) => format!(" (was {})", shapes::brief(old, VALUE_WIDTH)),
        (None, Some(About { kind, size, .. })) => format!(" (was {kind}, {})", bytes(*size)),
        (None, None) => String::new(),
    };
    let (key, who) = (printable(event.key.as_str()), shapes::who(&event.author));
    let what = match (event.op, shown(event.value.as_ref(), event.about.as_ref())) {
        _ if event.expired => return format!("{} {key} has expired{old}", event.seq),
        (Op::Put, Some(new)) => format!("= {new}"),
        (Op::Put, None) => "was set".to_owned(),
        (Op::Delete, _) => "is gone".to_owned(),
    };
    let place = if event.remote { "from" } else { "here by" };
    format!("{} {key} {what}{old} {place} {who}", event.seq)
}

/// A value, or in brackets what it is.
fn shown(value: Option<&Value>, about: Option<&About>) -> Option<String> {
    if let Some(value) = value {
        return Some(shapes::brief(value, VALUE_WIDTH));
    }
    let About { kind, size, hash, current } = about?;
    let kept = if *current { "" } else { ", no longer kept" };
    let hash: String = hash.chars().take(HASH_WIDTH).collect();
    Some(format!("({kind}, {}, hash {}…{kept})", bytes(*size), printable(&hash)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::shapes::tests::{about, event},
        *,
    };

    #[test]
    fn a_change_is_told_in_a_line() {
        let put = happened(&event(Some(Value::from("x\ny")), Some(Value::Int(5))));
        assert!(put.starts_with("7 a = x\\ny (was 5) from 12D3"), "{put}");
        let here = Event { remote: false, ..event(None, None) };
        assert!(happened(&here).starts_with("7 a is gone here by 12D3"));
        let ended = Event { expired: true, ..event(None, Some(Value::Int(5))) };
        assert_eq!(happened(&ended), "7 a has expired (was 5)");
    }

    #[test]
    fn a_value_that_is_not_told_is_not_taken_for_none() {
        let large = Value::from("x".repeat(200_000));
        let hash = blake3::hash(&large.to_bytes()).to_hex();
        let of = |current| {
            let told = Some(about(&large, current));
            happened(&Event {
                op: Op::Put,
                about: told.clone(),
                old_about: told,
                ..event(None, None)
            })
        };
        let what = format!("7 a = (string, 200.0 kB, hash {}…", &hash[..16]);
        let was = "(was string, 200.0 kB) from 12D3";
        assert!(of(true).starts_with(&format!("{what}) {was}")), "{}", of(true));
        assert!(of(false).starts_with(&format!("{what}, no longer kept) {was}")), "{}", of(false));
    }
}
