#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Command;

use super::*;

/// A system whose folders are open to all, as a real one's are.
fn system() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("opt/portal")).unwrap();
    write(root.path(), "opt/portal/VERSION", "portal\nversion=4.2.1\n");
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    mode(&path, 0o644);
    for folder in path.ancestors().skip(1).take_while(|folder| *folder != root) {
        mode(folder, 0o755);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn file(root: &Path, path: &str) -> Found {
    look(root, &Detect::File { path: path.into(), pattern: "^version=(.*)$".into() })
}

fn is(found: &Found, of: fn(String) -> Found, part: &str) -> bool {
    match found {
        Found::Version(text)
        | Found::Unreadable(text)
        | Found::Absent(text)
        | Found::Unknown(text)
        | Found::Unsupported(text) => *found == of(text.clone()) && text.contains(part),
    }
}

#[test]
fn a_file_that_is_open_to_all_tells_its_version() {
    let root = system();
    assert_eq!(file(root.path(), "/opt/portal/VERSION"), Found::Version("4.2.1".into()));
    let absent = file(root.path(), "/opt/other/VERSION");
    assert!(is(&absent, Found::Absent, "there is no"), "{absent:?}");
    // A file where a folder would be.
    assert!(is(&file(root.path(), "/opt/portal/VERSION/x"), Found::Absent, "there is no"));
    assert!(is(&file(root.path(), "C:\\portal\\VERSION"), Found::Absent, "no path of this system"));
    let bad = Detect::File { path: "/opt/portal/VERSION".into(), pattern: "(?<=x)(y)".into() };
    assert!(is(&look(root.path(), &bad), Found::Unsupported, "pattern"));
    let registry = Detect::Registry { key: "HKLM\\a".into(), value: "b".into() };
    assert!(is(&look(root.path(), &registry), Found::Absent, "no registry"));
}

#[test]
fn what_others_may_not_read_the_agent_does_not_read_for_them() {
    let root = system();
    write(root.path(), "root/secret", "version=1.2.3");
    mode(&root.path().join("root/secret"), 0o600);
    let closed = file(root.path(), "/root/secret");
    assert!(is(&closed, Found::Unreadable, "not readable by everybody"), "{closed:?}");
    // A file that is open, in a folder that is not.
    mode(&root.path().join("root/secret"), 0o644);
    assert_eq!(file(root.path(), "/root/secret"), Found::Version("1.2.3".into()));
    mode(&root.path().join("root"), 0o750);
    let closed = file(root.path(), "/root/secret");
    assert!(is(&closed, Found::Unknown, "not readable by everybody"), "{closed:?}");
    assert!(!format!("{closed:?}").contains("1.2.3"));
    // A link that somebody else made shows no more than its maker could see.
    symlink(root.path().join("root/secret"), root.path().join("opt/portal/link")).unwrap();
    assert!(is(&file(root.path(), "/opt/portal/link"), Found::Unknown, "not readable by everybody"));
}

#[test]
fn links_are_followed_within_the_system_and_not_out_of_it() {
    let root = system();
    write(root.path(), "opt/portal-4.3/VERSION", "version=4.3");
    symlink("portal-4.3", root.path().join("opt/current")).unwrap();
    assert_eq!(file(root.path(), "/opt/current/VERSION"), Found::Version("4.3".into()));
    let outside = system();
    symlink(outside.path().join("opt"), root.path().join("opt/outside")).unwrap();
    assert!(is(&file(root.path(), "/opt/outside/portal/VERSION"), Found::Unknown, "leads out of"));
    symlink("loop", root.path().join("opt/loop")).unwrap();
    assert!(matches!(file(root.path(), "/opt/loop/VERSION"), Found::Unknown(_)));
    // What the kernel makes up while it is read.
    write(root.path(), "proc/self/version", "version=1");
    symlink("/proc/self", root.path().join("opt/self")).unwrap();
    assert!(is(&file(root.path(), "/proc/self/version"), Found::Unknown, "no file of a product"));
}

#[test]
fn only_a_regular_file_of_bounded_size_is_read() {
    let root = system();
    let folder = file(root.path(), "/opt/portal");
    assert!(is(&folder, Found::Unreadable, "no regular file"), "{folder:?}");
    let pipe = root.path().join("opt/portal/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    mode(&pipe, 0o644);
    // It would wait for a writer without end.
    assert!(is(&file(root.path(), "/opt/portal/pipe"), Found::Unreadable, "no regular file"));
    let most = format!("{}\nversion=1.0\n", "x".repeat((1 << 20) - 13));
    write(root.path(), "opt/portal/large", &most);
    assert_eq!(file(root.path(), "/opt/portal/large"), Found::Version("1.0".into()));
    write(root.path(), "opt/portal/large", &format!("{most}x"));
    assert!(is(&file(root.path(), "/opt/portal/large"), Found::Unreadable, "holds more than"));
    write(root.path(), "opt/portal/empty", "");
    assert!(is(&file(root.path(), "/opt/portal/empty"), Found::Unreadable, "no line"));
}

fn pe(root: &Path, path: &str) -> Found {
    look(root, &Detect::Pe { path: path.into() })
}

/// Programs made by other people's tools, 32 and 64 bits, with a version and without.
#[test]
fn the_version_of_a_windows_program_is_read_as_its_maker_wrote_it() {
    const TEST: &str = "the_version_of_a_windows_program_is_read_as_its_maker_wrote_it";
    let root = system();
    let folder = root.path().join("opt/portal");
    let resources = "1 VERSIONINFO\nFILEVERSION 15,2,1118,40000\nPRODUCTVERSION 9,8,7,6\nFILEFLAGSMASK 0\n\
                     FILEFLAGS 0\nFILEOS 0x4\nFILETYPE 2\nBEGIN\nEND\n";
    // A resource of another type before it, and a string behind it.
    let others = "7 RCDATA\nBEGIN\n\"data\"\nEND\nSTRINGTABLE\nBEGIN\n1 \"text\"\nEND\n";
    for (name, text) in [("with", format!("{others}{resources}")), ("without", others.to_owned())] {
        fs::write(folder.join(format!("{name}.rc")), text).unwrap();
        for (machine, bits) in [("x86_64-w64-mingw32", "64"), ("i686-w64-mingw32", "32")] {
            let (object, program) = (format!("{name}{bits}.o"), format!("{name}{bits}.dll"));
            let source = format!("{name}.rc");
            // Its own preprocessor comes with a compiler that is not needed here; this system's will do.
            let mut compile = vec!["--preprocessor=cc"];
            compile.extend(["--preprocessor-arg=-E", "--preprocessor-arg=-xc", "-i", &source, "-o", &object]);
            let steps = [("windres", compile), ("ld", vec!["-shared", "-o", &program, &object])];
            for (tool, args) in steps {
                let tool = format!("{machine}-{tool}");
                match Command::new(&tool).args(&args).current_dir(&folder).output() {
                    Ok(output) => assert!(output.status.success(), "{tool} {args:?}: {output:?}"),
                    Err(_) => {
                        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {tool}");
                        println!("skipped (no {tool}): {TEST}");
                        return;
                    }
                }
            }
            mode(&folder.join(&program), 0o644);
            let found = pe(root.path(), &format!("/opt/portal/{program}"));
            match name {
                "with" => assert_eq!(found, Found::Version("15.2.1118.40000".into()), "{bits}"),
                _ => assert!(is(&found, Found::Unreadable, "no version among its resources"), "{found:?}"),
            }
        }
    }
    damaged(root.path(), &fs::read(folder.join("with64.dll")).unwrap());
}

/// Cut off anywhere, and with any octet of its headers and resources changed: an answer, and no panic.
fn damaged(root: &Path, program: &[u8]) {
    write(root, "opt/portal/damaged.dll", "");
    let at = |bytes: &[u8]| {
        fs::write(root.join("opt/portal/damaged.dll"), bytes).unwrap();
        pe(root, "/opt/portal/damaged.dll")
    };
    assert_eq!(at(program), Found::Version("15.2.1118.40000".into()));
    for end in (0..program.len()).step_by(29) {
        assert!(!matches!(at(&program[..end]), Found::Absent(_) | Found::Unknown(_)), "{end}");
    }
    for place in 0..program.len().min(1_024) {
        for octet in [0x00, 0xff] {
            let mut changed = program.to_vec();
            changed[place] = octet;
            let _ = at(&changed);
        }
    }
}

#[test]
fn what_is_replaced_by_a_link_after_it_was_looked_at_is_not_read() {
    let root = system();
    let real = fs::canonicalize(root.path().join("opt/portal/VERSION")).unwrap();
    assert!(open_there(&real).is_ok());
    // What its owner does between the two: another folder's file of that name, which the agent could read.
    fs::rename(root.path().join("opt/portal"), root.path().join("opt/was")).unwrap();
    write(root.path(), "secret/VERSION", "version=6.6.6\n");
    symlink("../secret", root.path().join("opt/portal")).unwrap();
    if cfg!(target_os = "linux") {
        let error = open_there(&real).unwrap_err();
        assert!(error.to_string().contains("secret/VERSION was opened"), "{error}");
    }
}
