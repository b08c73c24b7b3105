//! Asking a person: on a terminal only, and never where a script waits.

use std::io::{self, BufRead, IsTerminal};

use crate::output;

/// Whether somebody can be asked.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks until one of `answers` is given; `None`: the person went away.
pub fn one_of(question: &str, answers: &[&'static str]) -> io::Result<Option<&'static str>> {
    let mut lines = io::stdin().lock().lines();
    loop {
        output::say(format_args!("{question} [{}]", answers.join("/")));
        let Some(line) = lines.next().transpose()? else { return Ok(None) };
        if let Some(answer) = answers.iter().find(|answer| line.trim().eq_ignore_ascii_case(answer)) {
            return Ok(Some(answer));
        }
    }
}
