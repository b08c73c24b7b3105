//! `stopgap generate DIR`: manual pages and shell completions, from the definitions of the commands.
//! Hidden: it is for whoever makes a package (`cargo xtask dist`), which must not know the commands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use crate::exit::{Code, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// Write `man1/*.1` and `completions/*` into this folder
    dir: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let man = args.dir.join("man1");
    let completions = args.dir.join("completions");
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    pages(&command, &man)?;
    for (shell, name) in
        [(Shell::Bash, "stopgap.bash"), (Shell::Zsh, "_stopgap"), (Shell::Fish, "stopgap.fish")]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "stopgap", &mut script);
        write(&completions.join(name), &script)?;
    }
    Ok(Code::Done)
}

/// A page for each command, named as clap names them: `stopgap-agent-run.1`.
fn pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page).context("cannot render a manual page")?;
    write(&folder.join(man.get_filename()), &page)?;
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
    for subcommand in shown {
        pages(subcommand, folder)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
