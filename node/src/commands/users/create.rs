//! `user create`, and the place for its recovery code.

use std::path::{Path, PathBuf};

use peerage_api::types::{Handle, RecoveryCode, UserId};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{
    super::{Context, acting::Desk},
    show,
};
use crate::{failed::Failed, private::Draft, secrets::PasswordFile};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  peerage user create --handle ada
  peerage user create --password-file secret --recovery-file recovery.txt --json

Prints the user id. The recovery code is shown once and stored nowhere: it moves the user to a new
key, or revokes its key, when the password or the machine is lost. The user is logged in at once.")]
pub(crate) struct Args {
    /// What it calls itself; others may use the same
    #[arg(long, value_name = "H")]
    handle: Option<Handle>,
    #[command(flatten)]
    password: PasswordFile,
    /// Write the recovery code to a new file of mode 0600 rather than show it
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
}

pub(super) async fn run(context: Context<'_>, args: Args) -> Result<(), Failed> {
    let desk = Desk::new(context).await?;
    let place = Place::new(args.recovery_file.as_deref())?;
    let password = args.password.choose(context).await?;
    let users = desk.node.users();
    let created = context.within("no answer", users.create(password, args.handle)).await?;
    let user = created.session.user;
    // First of all: it cannot be had again.
    let shown = place.keep(context, user, &created.recovery);
    let kept = desk.slot(user).write(&created.session.token);
    let shown = shown?;
    kept?;
    let known = context.within("no answer", users.get(user)).await?;
    let mut value = serde_json::to_value(&known).map_err(anyhow::Error::from)?;
    with_recovery(&mut value, shown);
    context.out.result(&value, |_| user.to_string())?;
    context.out.note(format_args!("{}is logged in", prefix(&show::handle(known.handle.as_ref()))));
    Ok(())
}

fn prefix(handle: &str) -> String {
    if handle.is_empty() { "the user ".to_owned() } else { format!("{handle} ") }
}

/// Adds the code to what is printed for scripts, unless it is elsewhere.
pub(super) fn with_recovery(value: &mut Value, code: Option<Zeroizing<String>>) {
    if let (Value::Object(fields), Some(code)) = (value, code) {
        fields.insert("recovery".to_owned(), code.as_str().into());
    }
}

/// Where a recovery code goes.
#[derive(Debug)]
pub(super) struct Place {
    file: Option<(PathBuf, Draft)>,
}

impl Place {
    /// A file, which must not be there yet, or the screen. Checked before there is a code.
    pub(super) fn new(file: Option<&Path>) -> Result<Self, Failed> {
        let draft = |path: &Path| Ok::<_, Failed>((path.to_owned(), Draft::fresh(path)?));
        Ok(Self { file: file.map(draft).transpose()? })
    }

    /// Puts the code there. What it returns is for JSON on stdout.
    pub(super) fn keep(
        self,
        context: Context<'_>,
        user: UserId,
        code: &RecoveryCode,
    ) -> Result<Option<Zeroizing<String>>, Failed> {
        let text = Zeroizing::new(code.to_text());
        let Some((path, draft)) = self.file else {
            if !context.out.json {
                tell(user, &text);
            }
            return Ok(Some(text));
        };
        let line = Zeroizing::new(format!("{}\n", *text));
        // Better seen than lost.
        draft.finish_fresh(line.as_bytes()).inspect_err(|_| tell(user, &text))?;
        context.out.note(format_args!("the recovery code is in {}", path.display()));
        Ok(None)
    }
}

/// Also when quiet: it is shown once, and lost otherwise.
fn tell(user: UserId, code: &str) {
    eprintln!(
        "recovery code of {user}:\n  {code}\nIt moves the user to a new key (peerage user rotate), \
         or revokes its key (peerage user revoke),\nwhen the password or the machine is lost. It is \
         shown once and stored nowhere: write it down."
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_code_is_in_the_json_unless_it_is_in_a_file() {
        let mut value = json!({ "user": "u" });
        with_recovery(&mut value, None);
        assert_eq!(value, json!({ "user": "u" }));
        with_recovery(&mut value, Some(Zeroizing::new("recovery1x".into())));
        assert_eq!(value["recovery"], "recovery1x");
    }

    #[test]
    fn a_file_that_exists_is_refused_before_there_is_a_code() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("code");
        assert!(Place::new(Some(&path)).is_ok());
        std::fs::write(&path, "of another user").unwrap();
        assert!(Place::new(Some(&path)).is_err());
        assert!(Place::new(None).unwrap().file.is_none());
    }
}
