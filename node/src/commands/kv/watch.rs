//! `kv watch`: changes as they happen.

use peerage_api::kv::{Event, Op};

use super::{
    super::{Context, Until},
    shapes::{self, Change},
    store::{Place, Store},
};
use crate::{failed::Failed, output::printable};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  peerage kv watch settings/
  peerage kv watch --from 0                  everything there is, and then what comes
  peerage kv watch --from 1042 --json        what came after number 1042, without a gap

Each change has a sequence number of this node, which survives restarts: a script that notes the
last one it has seen goes on from there. A version that was overwritten long ago is left out.")]
pub(super) struct Watch {
    /// What the keys begin with
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// Changes after this sequence number first; 0 for everything
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    until: Until,
}

pub(super) async fn run(context: Context<'_>, args: Watch) -> Result<(), Failed> {
    let Watch { prefix, from, place, until } = args;
    let store = Store::new(context).await?;
    let kv = store.open(&place).await?;
    let mut feed = store.ask(kv.watch(prefix, from)).await?;
    let out = context.out;
    out.note("watching; end with ctrl-C");
    let show = async |event: &Event| out.item(&Change::of(event), |_| happened(event));
    until.each(out, &mut feed, show).await
}

/// Characters of a value in a line.
const VALUE_WIDTH: usize = 80;

fn happened(event: &Event) -> String {
    let value = |value| shapes::brief(value, VALUE_WIDTH);
    let old = event.old.as_ref().map(|old| format!(" (was {})", value(old))).unwrap_or_default();
    let what = match (event.op, &event.value) {
        (Op::Put, Some(new)) => format!("= {}", value(new)),
        (Op::Put, None) => "was set, and overwritten since".to_owned(),
        (Op::Delete, _) => "is gone".to_owned(),
    };
    let (key, who) = (printable(event.key.as_str()), shapes::who(&event.author));
    let place = if event.remote { "from" } else { "here by" };
    format!("{} {key} {what}{old} {place} {who}", event.seq)
}

#[cfg(test)]
mod tests {
    use peerage_api::kv::Value;

    use super::{super::shapes::tests::event, *};

    #[test]
    fn a_change_is_told_in_a_line() {
        let put = happened(&event(Some(Value::from("x\ny")), Some(Value::Int(5))));
        assert!(put.starts_with("7 a = x\\ny (was 5) from 12D3"), "{put}");
        let here = Event { remote: false, ..event(None, None) };
        assert!(happened(&here).starts_with("7 a is gone here by 12D3"));
        let dropped = Event { op: Op::Put, ..event(None, None) };
        assert!(happened(&dropped).contains("overwritten since"));
    }
}
