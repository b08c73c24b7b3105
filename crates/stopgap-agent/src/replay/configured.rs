//! The formats that this server's own configuration defines: `log_format` of nginx, `LogFormat` of Apache. They are
//! tried on a log, and which of them a log has is told by its lines; so it does not matter here which is used where.

use std::path::{Path, PathBuf};

use stopgap_drivers::{Host, Machine};

use super::format::Format;
use crate::config::{Config, TargetConfig, TargetKind};

/// Files of one target that are looked at, and octets of each.
const MAX_FILES: usize = 200;
const MAX_BYTES: u64 = 1024 * 1024;
/// Formats that are taken.
const MAX_FORMATS: usize = 50;

/// The formats of every target's configuration: its main file, and the folders that Debian includes from it. What
/// cannot be read brings none.
pub fn formats_of(config: &Config) -> Vec<Format> {
    let mut formats = Vec::new();
    for target in &config.targets {
        let (main, folders, server): (_, &[&str], _) = match target.kind {
            TargetKind::Nginx => ("etc/nginx/nginx.conf", &["conf.d", "sites-enabled"], "nginx"),
            TargetKind::Apache => ("etc/apache2/apache2.conf", &["conf-enabled", "sites-enabled"], "Apache"),
            _ => continue,
        };
        for file in files(target, main, folders) {
            let Ok(bytes) = Machine.read(&file, MAX_BYTES) else { continue };
            let text = String::from_utf8_lossy(&bytes);
            let found = if server == "nginx" { nginx(&text) } else { apache(&text) };
            let named = |(name, text): (String, String)| {
                Format::template(&format!("{server}'s {name} of {}", file.display()), &text).ok()
            };
            formats.extend(found.into_iter().filter_map(named));
        }
    }
    formats.truncate(MAX_FORMATS);
    formats
}

fn files(target: &TargetConfig, main: &str, folders: &[&str]) -> Vec<PathBuf> {
    let main = target.config.as_deref().unwrap_or(Path::new(main));
    let main = target.root.join(main.strip_prefix("/").unwrap_or(main));
    let folder = main.parent().map(Path::to_owned).unwrap_or_default();
    let mut files = vec![main];
    for name in folders {
        let entries = std::fs::read_dir(folder.join(name)).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).take(MAX_FILES).collect();
        found.sort();
        files.extend(found);
    }
    files.truncate(MAX_FILES);
    files
}

/// `log_format NAME [escape=…] 'text' 'text';`.
fn nginx(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let text: String = text.lines().filter(|line| !line.trim_start().starts_with('#')).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    );
    for piece in text.split("log_format").skip(1).take(MAX_FORMATS) {
        let mut words = words(piece, ';').into_iter();
        let Some(name) = words.next() else { continue };
        let format: String = words.filter(|word| !word.starts_with("escape=")).collect();
        found.push((format!("log_format {name}"), format));
    }
    found
}

/// `LogFormat "text" name`.
fn apache(text: &str) -> Vec<(String, String)> {
    let directive = |line: &str| {
        let line = line.trim_start();
        let (first, rest) = line.split_at_checked("LogFormat".len())?;
        if !first.eq_ignore_ascii_case("LogFormat") {
            return None;
        }
        let mut words = words(rest, '\n').into_iter();
        let format = words.next()?;
        Some((format!("LogFormat {}", words.next().unwrap_or_default()), format))
    };
    text.lines().filter_map(directive).take(MAX_FORMATS).collect()
}

/// Words up to `end`, those in quotes without them; a backslash takes the next quote in.
fn words(text: &str, end: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(first) = chars.next() {
        if first == end {
            break;
        }
        if first.is_whitespace() {
            continue;
        }
        let mut word = String::new();
        if matches!(first, '"' | '\'') {
            while let Some(c) = chars.next() {
                match c {
                    '\\' if chars.peek().is_some_and(|next| *next == first) => word.extend(chars.next()),
                    c if c == first => break,
                    c => word.push(c),
                }
            }
        } else {
            word.push(first);
            while let Some(c) = chars.next_if(|c| !c.is_whitespace() && *c != end) {
                word.push(c);
            }
        }
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_as_servers_write_them() {
        let text = "http {\n  # log_format no '$x';\n  log_format mine escape=json '$remote_addr \"$request\" '\n    '$status';\n}";
        assert_eq!(
            nginx(text),
            [("log_format mine".to_owned(), "$remote_addr \"$request\" $status".to_owned())]
        );
        let text = "LogFormat \"%h \\\"%r\\\" %>s\" short\n logformat \"%U\" other\n# LogFormat \"%r\" no\n";
        assert_eq!(
            apache(text),
            [
                ("LogFormat short".to_owned(), "%h \"%r\" %>s".to_owned()),
                ("LogFormat other".to_owned(), "%U".to_owned()),
            ]
        );
        Format::template("x", "%h \"%r\" %>s").unwrap();
    }
}
