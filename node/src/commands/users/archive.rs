//! `user export` and `user import`: a user as a sealed file.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};

use peerage_api::{
    types::Payload,
    users::{AuthError, UsersError},
};
use serde_json::json;

use super::super::{Context, acting::Desk};
use crate::{
    failed::{Exit, Failed},
    output::{bytes, to_terminal},
    private::{self, Draft},
    secrets::{ArchivePasswordFile, PasswordFile},
};

/// More than the daemon would ever take.
const MAX_ARCHIVE: u64 = 8 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage --as ada user export ada.peerage
  peerage --as ada user export - | ssh host 'cat > ada.peerage'

Key, profile, contacts and storage, sealed with a password of its own. The file is for you alone
(mode 0600) and replaces one of that name. The user need not be logged in.")]
pub(crate) struct Export {
    /// Where to; - for stdout
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    password: PasswordFile,
    #[command(flatten)]
    archive_password: ArchivePasswordFile,
}

pub(super) async fn export(context: Context<'_>, args: Export) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let user = desk.subject(None).await?;
    let draft = if is_dash(&args.file) { None } else { Some(Draft::new(&args.file)?) };
    if draft.is_none() && !context.out.json && to_terminal() {
        let text = "an archive is not for a terminal; name a file, or send stdout somewhere";
        return Err(Failed::new(Exit::Failed, "terminal", text));
    }
    let password = args.password.read(context).await?;
    let archive_password = args.archive_password.choose(context).await?;
    let users = desk.node.users();
    let work = users.export(user, password, archive_password);
    let archive = match context.within("no answer", async { Ok::<_, Failed>(work.await) }).await? {
        Err(error @ UsersError::Auth(AuthError::NoSuchUser { .. })) => {
            return Err(desk.explained(error.into()).await);
        }
        archive => archive?,
    };
    let size = archive.len();
    let Some(draft) = draft else {
        let line = json!({ "user": user, "bytes": size, "archive": archive });
        return if context.out.json {
            context.out.line(&line)
        } else {
            context.out.raw(&archive.0)
        };
    };
    draft.finish(&archive.0)?;
    let file = std::path::absolute(&args.file)?;
    context.out.result(&json!({ "user": user, "bytes": size, "file": file }), |_| {
        format!("wrote {} ({}) with all of {user}", args.file.display(), bytes(size as u64))
    })
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: peerage user import ada.peerage

Asks for the password of the archive, and for a password for this node. All of it comes, or
nothing. Then: peerage user login")]
pub(crate) struct Import {
    /// What `peerage user export` wrote; - for stdin
    #[arg(value_name = "FILE|-", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    archive_password: ArchivePasswordFile,
    #[command(flatten)]
    password: PasswordFile,
}

pub(super) async fn import(context: Context<'_>, args: Import) -> Result<(), Failed> {
    let node = context.node().await?;
    let archive = read(args.file.clone()).await?;
    let archive_password = args.archive_password.read(context).await?;
    let password = args.password.choose(context).await?;
    let users = node.users();
    let work = users.import(archive, archive_password, password);
    let user = context.within("no answer", work).await?;
    context.out.result(&user, |user| user.user.to_string())?;
    context.out.note(format_args!("log in with `peerage user login {}`", user.user));
    Ok(())
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

async fn read(path: PathBuf) -> Result<Payload, Failed> {
    if is_dash(&path) && io::stdin().is_terminal() {
        let text = "an archive is not typed at a terminal; name its file";
        return Err(Failed::new(Exit::Failed, "terminal", text));
    }
    let place = path.clone();
    let read = tokio::task::spawn_blocking(move || match is_dash(&place) {
        true => bounded(io::stdin().lock()),
        false => bounded(File::open(&place)?),
    });
    let read = read.await.map_err(anyhow::Error::from)?;
    let bytes = read.map_err(|error| private::unread(&path, &error))?;
    match bytes.len() as u64 > MAX_ARCHIVE {
        true => Err(Failed::new(Exit::Failed, "bad_archive", "that is too large to be an archive")),
        false => Ok(bytes.into()),
    }
}

fn bounded(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_ARCHIVE + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
