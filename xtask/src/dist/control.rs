//! What Debian wants to know of the package, as text.

/// The package's fields. `installed`: KiB; `glibc`: the newest version of its symbols that the program needs.
pub fn control(version: &str, architecture: &str, installed: u64, glibc: &str) -> String {
    format!(
        "\
Package: stopgap
Version: {version}
Architecture: {architecture}
Maintainer: The Stopgap project <stopgap@users.noreply.github.com>
Installed-Size: {installed}
Depends: libc6 (>= {glibc}), libgcc-s1 (>= 4.2), init-system-helpers (>= 1.54~)
Recommends: ca-certificates
Suggests: nginx | apache2 | haproxy, prometheus-node-exporter
Section: admin
Priority: optional
Homepage: {homepage}
Description: signed, temporary mitigations for servers
 Stopgap follows signed feeds of mitigations, puts those that apply on this
 server's nginx, Apache httpd, HAProxy or on its own gateway within seconds of
 their release, proves by probes that they work, tells the truth about what is
 in force, and takes them off again when the fix is installed.
 .
 The package holds the agent as a service, and the tools of those who write,
 sign and serve a feed.
",
        homepage = env!("CARGO_PKG_REPOSITORY"),
    )
}

/// The packaging's own history: what changed is in the project's.
pub fn changelog(version: &str, date: &str) -> String {
    format!(
        "\
stopgap ({version}) unstable; urgency=medium

  * See changelog.gz for what changed in this version.

 -- The Stopgap project <stopgap@users.noreply.github.com>  {date}
"
    )
}

/// The newest `GLIBC_2.x` that a program names. Its table of needed versions is the only place that
/// does so in this form.
pub fn glibc(program: &[u8]) -> Option<String> {
    const MARK: &[u8] = b"GLIBC_2.";
    let minors = program.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let minor = minors.filter_map(|(at, _)| {
        let rest = program.get(at + MARK.len()..)?;
        let digits: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_digit).take(4).collect();
        String::from_utf8(digits).ok()?.parse::<u32>().ok()
    });
    minor.max().map(|minor| format!("2.{minor}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbol_decides() {
        assert_eq!(glibc(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GCC_3.0\0").as_deref(), Some("2.34"));
        assert_eq!(glibc(b"\0GCC_3.0\0"), None);
    }

    #[test]
    fn every_field_is_a_line_of_its_own() {
        let text = control("0.1.0-1", "amd64", 12, "2.34");
        let fields = text.lines().filter(|line| !line.starts_with(' '));
        assert!(fields.clone().all(|line| line.contains(": ")), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    }
}
