//! `kv export`: entries as lines of JSON.

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use peerage_api::{
    kv::{Entry, Kv},
    users::{Page, Paged},
};
use serde_json::json;
use tempfile::NamedTempFile;

use super::{
    super::Context,
    lines,
    store::{Place, Store},
};
use crate::{
    failed::{Exit, Failed},
    output::{Output, bytes, entries},
};

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = r#"Examples:
  peerage kv export backup.jsonl
  peerage kv export --prefix settings/ | jq -c 'select(.type == "int")'

One line an entry, {"key","type","value"} and "expires_ms" if there is a time; bytes are base64.
A file is for you alone (mode 0600) and takes its place once it is whole."#)]
pub(super) struct Export {
    /// Where to; - for stdout
    #[arg(value_name = "FILE|-", default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Only entries whose keys begin so
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    prefix: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(context: Context<'_>, args: Export) -> Result<(), Failed> {
    let store = Store::new(context).await?;
    let kv = store.open(&args.place).await?;
    let out = context.out;
    if args.file.as_os_str() == "-" {
        let (written, _) = pages(&store, &kv, &args.prefix, |lines| out.raw(lines)).await?;
        out.note(format_args!("wrote {}", entries(written)));
        return Ok(());
    }
    let unwritten = |error: io::Error| {
        let text = format!("cannot write {}: {error}", args.file.display());
        Failed::new(Exit::Failed, "io", text)
    };
    let mut draft = draft(&args.file).map_err(unwritten)?;
    let append = |lines: &[u8]| draft.write_all(lines).map_err(unwritten);
    let (written, size) = pages(&store, &kv, &args.prefix, append).await?;
    finish(draft, &args.file).map_err(unwritten)?;
    told(out, &args.file, written, size)
}

fn told(out: Output, file: &Path, written: u64, size: u64) -> Result<(), Failed> {
    let line = json!({ "written": written, "bytes": size, "file": std::path::absolute(file)? });
    out.result(&line, |_| {
        format!("wrote {} ({}) to {}", entries(written), bytes(size), file.display())
    })
}

/// Gives the lines of page after page to `sink`; the entries and bytes that it got.
async fn pages(
    store: &Store<'_>,
    kv: &Kv,
    prefix: &str,
    mut sink: impl FnMut(&[u8]) -> Result<(), Failed>,
) -> Result<(u64, u64), Failed> {
    let (mut page, mut text) = (Page::default(), Vec::new());
    let (mut written, mut size) = (0, 0);
    loop {
        let Paged { items, next } = store.ask(kv.list(prefix, page.clone())).await?;
        text.clear();
        items.iter().try_for_each(|entry: &Entry| lines::write(&mut text, entry))?;
        sink(&text)?;
        written += items.len() as u64;
        size += text.len() as u64;
        match next {
            // A page without entries would be asked for again and again.
            Some(next) if !items.is_empty() => page.after = Some(next),
            _ => return Ok((written, size)),
        }
    }
}

/// A file beside its place.
fn draft(path: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".peerage-").tempfile_in(folder_of(path))
}

/// Puts it into its place, durably.
fn finish(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    draft.as_file().sync_all()?;
    draft.persist(path)?;
    File::open(folder_of(path))?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
