//! `completions` and `man`: what is generated from the command tree.

use std::path::PathBuf;

use clap::CommandFactory;

use crate::{cli::Cli, failed::Failed, output::Output};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write a page for every command to this directory instead of printing the main one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(out: Output, shell: clap_complete::Shell) -> Result<(), Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "peerage", &mut script);
    out.raw(&script)
}

pub(super) fn run(out: Output, args: &Args) -> Result<(), Failed> {
    let command = Cli::command();
    match &args.dir {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            Ok(clap_mangen::generate_to(command, dir)?)
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            out.raw(&page)
        }
    }
}
