//! `kv import`: entries from lines of JSON, batch by batch.

use std::{
    fs::File,
    io::{self, BufReader, IsTerminal, Read},
    path::{Path, PathBuf},
    time::Instant,
};

use peerage_api::{
    kv::{Kv, KvError},
    types::UnixMillis,
};
use serde::Serialize;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{
    super::Context,
    lines::{Batch, Batches, Stuck},
    store::{Place, Store},
};
use crate::{
    failed::{Exit, Failed},
    output::{Bar, bytes, entries, took},
    private, signals,
};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = r#"Examples:
  peerage kv import settings.jsonl
  peerage kv export | peerage --data elsewhere kv import
  peerage kv import people.jsonl --prefix people/
  peerage kv import people.jsonl --skip 20000        goes on where it stopped

Each line is such as {"key":"port","value":587}, with "type" if it is not what JSON says: string,
int, float, bytes (base64) or json, and "expires_ms" (since 1970) if there is a time. What `kv ls
--json` tells beside that is passed over; any other field is refused, and so is a number that would
lose digits.

Every 10,000 lines or 8 MiB are one batch, which is written whole or not at all and is durable
before the next. When something is wrong, it says which lines are done. To import all of it again
does no harm: the same values are set once more.

One author may hold half of a space; the limits are --max-space-bytes and --max-space-entries of
`peerage up`."#)]
pub(super) struct Import {
    /// Where from; - for stdin
    #[arg(value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Put before every key
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Pass over so many lines first
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    skip: u64,
    #[command(flatten)]
    place: Place,
}

/// What was done.
#[derive(Debug, Serialize)]
struct Done {
    /// Entries that are durable.
    written: u64,
    /// Lines whose time was over.
    expired: u64,
    batches: u64,
    /// Lines, those included that were passed over, that need not be read again.
    lines: u64,
    seconds: f64,
}

pub(super) async fn run(context: Context<'_>, args: Import) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let kv = store.open(&args.place).await?;
    let (source, total) = open(context, &args.file)?;
    let (to, batches) = channel(1);
    let start = Instant::now();
    let mut import = Importing {
        store: &store,
        kv,
        done: Done { written: 0, expired: 0, batches: 0, lines: args.skip, seconds: 0.0 },
        unanswered: 0,
        bar: is_seen(context).then(Bar::alone),
        total,
    };
    import.show(0);
    let path = args.file.clone();
    let lines = Batches::new(BufReader::with_capacity(1 << 18, source), args.prefix, args.skip);
    // The next batch is read while this one is written.
    tokio::task::spawn_blocking(move || read(lines, &to));
    let outcome = import.all(batches, &path).await;
    let Importing { mut done, unanswered, bar, .. } = import;
    drop(bar);
    done.seconds = start.elapsed().as_secs_f64();
    match outcome {
        Ok(()) => context.out.result(&done, in_words),
        Err(failed) => Err(told(context, failed, &done, unanswered)),
    }
}

fn in_words(done: &Done) -> String {
    let expired = match done.expired {
        0 => String::new(),
        1 => "; 1 was left out, its time is over".to_owned(),
        count => format!("; {count} were left out, their time is over"),
    };
    format!("wrote {} in {}{expired}", entries(done.written), took(done.seconds))
}

type Source = Box<dyn Read + Send>;

/// What is to be read, and how much it is if that is known.
fn open(context: Context<'_>, path: &Path) -> Result<(Source, Option<u64>), Failed> {
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            context.out.note("type the lines; end with ctrl-D");
        }
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path).map_err(|error| private::unread(path, &error))?;
    let about = file.metadata().map_err(|error| private::unread(path, &error))?;
    Ok((Box::new(file), Some(about.len()).filter(|_| about.is_file())))
}

fn is_seen(context: Context<'_>) -> bool {
    let unwanted = context.out.quiet || context.global.no_progress;
    !unwanted && io::stderr().is_terminal()
}

/// Reads until the end, or until nobody wants more.
fn read(mut lines: Batches<BufReader<Source>>, to: &Sender<Result<Batch, Stuck>>) {
    while let Some(next) = lines.next(UnixMillis::now()).transpose() {
        let over = next.is_err();
        if to.blocking_send(next).is_err() || over {
            break;
        }
    }
}

/// An import under way.
#[derive(Debug)]
struct Importing<'a> {
    store: &'a Store<'a>,
    kv: Kv,
    done: Done,
    /// The last line of a batch that was handed in without an answer; 0: there is none.
    unanswered: u64,
    bar: Option<Bar>,
    total: Option<u64>,
}

impl Importing<'_> {
    /// Writes batch after batch. A ctrl-C ends it, so that it can be told how far it came.
    async fn all(
        &mut self,
        mut batches: Receiver<Result<Batch, Stuck>>,
        path: &Path,
    ) -> Result<(), Failed> {
        let mut interrupted = std::pin::pin!(signals::interrupt());
        loop {
            let step = async {
                match batches.recv().await {
                    Some(Ok(batch)) => self.batch(batch).await.map(|()| true),
                    Some(Err(stuck)) => Err(failure(stuck, path)),
                    None => Ok(false),
                }
            };
            tokio::select! {
                biased;
                interrupt = &mut interrupted => {
                    interrupt?;
                    return Err(Failed::Reported(Exit::Interrupted));
                }
                more = step => if !more? {
                    return Ok(());
                },
            }
        }
    }

    async fn batch(&mut self, batch: Batch) -> Result<(), Failed> {
        let count = batch.writes.len() as u64;
        if count > 0 {
            self.unanswered = batch.last;
            let (kv, unanswered) = (&self.kv, &mut self.unanswered);
            let answer = async {
                let answer = kv.batch(batch.writes).await;
                if !matches!(answer, Err(KvError::Link(_))) {
                    *unanswered = 0;
                }
                answer
            };
            self.store.ask(answer).await?;
            self.done.batches += 1;
        }
        self.done.written += count;
        self.done.expired += batch.expired;
        self.done.lines = self.done.lines.max(batch.last);
        self.show(batch.read);
        Ok(())
    }

    fn show(&mut self, read: u64) {
        let Some(bar) = &mut self.bar else { return };
        let text = entries(self.done.written);
        match self.total {
            Some(total) => bar.moving("import", read, total, text),
            None => bar.waiting(format!("{text}, {} read", bytes(read))),
        }
    }
}

fn failure(stuck: Stuck, path: &Path) -> Failed {
    match stuck {
        Stuck::Line { number, bad } => {
            let text = format!("line {number}{bad}");
            let failed = Failed::new(Exit::Failed, "bad_line", text);
            failed.about("line", number).about("column", bad.column)
        }
        Stuck::Source(error) => private::unread(path, &error),
    }
}

/// Adds how far it came.
fn told(context: Context<'_>, failed: Failed, done: &Done, unanswered: u64) -> Failed {
    let advice = advice(done, unanswered);
    match failed {
        Failed::Reported(exit) => {
            context.out.note(format_args!("ended early; {advice}"));
            Failed::Reported(exit)
        }
        failed => failed.advise(&advice).about("written", done.written).about("skip", done.lines),
    }
}

fn advice(done: &Done, unanswered: u64) -> String {
    let Done { written, lines, .. } = done;
    let known = match (written, unanswered) {
        (0, 0) => "nothing was written".to_owned(),
        (0, _) => "nothing is known to be written".to_owned(),
        _ => {
            let are = if *written == 1 { "is" } else { "are" };
            format!("{}, all up to line {lines}, {are} written and durable", entries(*written))
        }
    };
    let behind = match unanswered {
        0 if *written > 0 => ", and nothing behind it".to_owned(),
        0 => String::new(),
        last => format!(", and perhaps those up to line {last}"),
    };
    let next = match lines {
        0 => "import all of it again".to_owned(),
        lines => format!("go on with --skip {lines}, or import all of it again"),
    };
    format!("{known}{behind}; {next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_an_import_came_is_told_with_where_to_go_on() {
        let done = |written, lines| Done { written, expired: 0, batches: 1, lines, seconds: 0.5 };
        assert_eq!(advice(&done(0, 0), 0), "nothing was written; import all of it again");
        let skipped = advice(&done(0, 7), 0);
        assert_eq!(skipped, "nothing was written; go on with --skip 7, or import all of it again");
        let far = "19998 entries, all up to line 20000, are written and durable";
        let next = "go on with --skip 20000, or import all of it again";
        let done_far = done(19_998, 20_000);
        assert_eq!(advice(&done_far, 0), format!("{far}, and nothing behind it; {next}"));
        let perhaps = format!("{far}, and perhaps those up to line 30000; {next}");
        assert_eq!(advice(&done_far, 30_000), perhaps);
        assert!(advice(&done(0, 0), 9).starts_with("nothing is known to be written, and perhaps"));
        assert!(advice(&done(1, 1), 0).starts_with("1 entry, all up to line 1, is written"));
        assert_eq!(in_words(&done(3, 3)), "wrote 3 entries in 0.50 s");
        assert_eq!(in_words(&done(1, 1)), "wrote 1 entry in 0.50 s");
        let late = Done { expired: 2, ..done(3, 5) };
        assert!(in_words(&late).ends_with("; 2 were left out, their time is over"));
    }
}
