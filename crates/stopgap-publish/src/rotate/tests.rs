//! A power cut at each step of a rotation, and what the same command and others make of it.

use std::fs;

use stopgap_feed::card::Card;
use stopgap_feed::{Refusal, Revocation, Trust};
use tempfile::TempDir;

use super::*;
use crate::builtin;
use crate::folder::{self, Address, Wishes, power};
use crate::key::nobody_to_ask;
use crate::pki::Reason;
use crate::{release, revoke};

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

/// A feed with revocation lists, released.
fn released() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let address = Address { url: "https://feed.example.org/feed.xml".to_owned(), contact: None };
    let wishes = Wishes { address, lists: true, ..Wishes::default() };
    folder::init_with(dir.path(), &"example".parse().unwrap(), &wishes, now()).unwrap();
    folder::add(dir.path(), builtin::find("PING1").unwrap()).unwrap();
    release::publish(dir.path(), now()).unwrap();
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn subscriber(dir: &Path) -> Trust {
    let card = Card::parse(&fs::read_to_string(dir.join("card.toml")).unwrap()).unwrap();
    card.trust.load_with(|name| panic!("{name}")).unwrap()
}

/// What a subscriber says who has all lists.
fn judge(dir: &Path, trust: &Trust) -> Result<(), Refusal> {
    let lists = fs::read_dir(dir.join("public/crl")).unwrap();
    let crls = lists.map(|entry| fs::read(entry.unwrap().path()).unwrap().into()).collect();
    let revocation = Revocation { mode: RevocationMode::Require, crls };
    let served = fs::read(dir.join("public/feed.xml")).unwrap();
    stopgap_feed::verify(trust, &served, None, &revocation, now()).map(drop)
}

fn files(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs `work` on copies of `original`, with the power failing after 0, 1, 2 … steps, until it does not fail; then
/// hands each copy to `after`. How many copies there were.
fn cut_off<E>(original: &Path, work: impl Fn(&Path) -> Result<(), E>, after: impl Fn(&Path, usize)) -> usize {
    for steps in 0..200 {
        let dir = tempfile::tempdir().unwrap();
        copy(original, dir.path());
        power::lasts(Some(steps));
        let done = work(dir.path());
        power::lasts(None);
        if done.is_ok() {
            return steps;
        }
        after(dir.path(), steps);
    }
    panic!("it never ends");
}

#[test]
fn a_rotation_that_was_cut_off_anywhere_is_ended_by_the_same_command() {
    let original = released();
    let before = subscriber(original.path());
    let served = fs::read(original.path().join("public/feed.xml")).unwrap();
    for (part, retired, least) in
        [(Part::Leaf, 0, 8), (Part::Intermediate, 2, 16), (Part::Root { until: None }, 4, 30)]
    {
        let work = |dir: &Path| rotate(dir, part, &mut nobody_to_ask, now()).map(drop);
        let steps = cut_off(original.path(), work, |dir, step| {
            let at = format!("{part:?}, step {step}");
            assert_eq!(fs::read(dir.join("public/feed.xml")).unwrap(), served, "{at}");
            let rotated =
                rotate(dir, part, &mut nobody_to_ask, now()).unwrap_or_else(|e| panic!("{at}: {e}"));
            assert!(!files(dir).iter().any(|file| file.starts_with("pending")), "{at}: {:?}", files(dir));
            // Once, and not twice: a second new root would leave the subscribers of the first behind.
            assert_eq!(files(&dir.join("retired/authorities")).len(), retired, "{at}");
            // Every authority has its own key: the replaced ones can still revoke.
            for known in authorities(&FeedFolder::open(dir).unwrap()).unwrap() {
                known.open(&mut nobody_to_ask).map(drop).unwrap_or_else(|e| panic!("{at}: {e}"));
            }
            let revoked =
                revoke::revoke(dir, &rotated.replaced, Reason::Superseded, &mut nobody_to_ask, now());
            assert!(!revoked.unwrap_or_else(|e| panic!("{at}: {e}")).in_use, "{at}");
            assert_eq!(judge(dir, &before).unwrap_err().code(), "revoked-certificate", "{at}");
            release::renew(dir, &mut nobody_to_ask, now()).unwrap_or_else(|e| panic!("{at}: {e}"));
            for trust in [&before, &subscriber(dir)] {
                judge(dir, trust).unwrap_or_else(|e| panic!("{at}: {e}"));
            }
        });
        assert!(steps >= least, "{part:?}: {steps}");
    }
}

#[test]
fn after_a_rotation_that_was_cut_off_a_release_is_as_good_as_ever() {
    let original = released();
    let before = subscriber(original.path());
    let work = |dir: &Path| rotate(dir, Part::Root { until: None }, &mut nobody_to_ask, now()).map(drop);
    let replaced = std::cell::Cell::new((0, 0));
    cut_off(original.path(), work, |dir, step| {
        release::publish(dir, now()).unwrap_or_else(|e| panic!("step {step}: {e}"));
        for trust in [&before, &subscriber(dir)] {
            judge(dir, trust).unwrap_or_else(|e| panic!("step {step}: {e}"));
        }
        // The rotation happened or it did not; who gives the command once more is told of the first one.
        let again = rotate(dir, Part::Root { until: None }, &mut nobody_to_ask, now());
        let (old, new) = replaced.get();
        match again {
            Ok(_) => replaced.set((old + 1, new)),
            Err(error) => {
                assert_eq!(error.code(), "still-crossed", "step {step}");
                replaced.set((old, new + 1));
            }
        }
    });
    let (old, new) = replaced.get();
    assert!(old > 10 && new > 10, "{old} {new}");
}

#[test]
fn a_revocation_that_was_cut_off_anywhere_is_ended_by_the_same_command() {
    let original = released();
    let before = subscriber(original.path());
    let chain = |dir: &Path| dir.join("chain.pem").to_string_lossy().into_owned();
    let revoke =
        |dir: &Path| revoke::revoke(dir, &chain(dir), Reason::KeyCompromise, &mut nobody_to_ask, now());
    let steps = cut_off(
        original.path(),
        |dir| revoke(dir).map(drop),
        |dir, step| {
            assert!(revoke(dir).unwrap_or_else(|e| panic!("step {step}: {e}")).in_use);
            assert_eq!(judge(dir, &before).unwrap_err().code(), "revoked-certificate", "step {step}");
            assert_eq!(revoke(dir).unwrap_err().code(), "already-revoked", "step {step}");
        },
    );
    assert!(steps >= 6, "{steps}");
}

#[test]
fn a_rotation_after_another_command_was_cut_off_is_one_of_its_own() {
    let original = released();
    rotate(original.path(), Part::Leaf, &mut nobody_to_ask, now()).unwrap();
    let chain = |dir: &Path| fs::read_to_string(dir.join("chain.pem")).unwrap();
    let revoke = |dir: &Path| {
        let file = dir.join("chain.pem");
        revoke::revoke(dir, file.to_str().unwrap(), Reason::KeyCompromise, &mut nobody_to_ask, now())
            .map(drop)
    };
    cut_off(original.path(), revoke, |dir, step| {
        let before = chain(dir);
        rotate(dir, Part::Leaf, &mut nobody_to_ask, now()).unwrap();
        assert_ne!(chain(dir), before, "step {step}");
    });
}

#[cfg(unix)]
#[test]
fn new_keys_are_their_owners_alone_at_every_step() {
    use std::os::unix::fs::PermissionsExt as _;
    fn secrets(dir: &Path, found: &mut usize) {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                secrets(&entry.path(), found);
            } else if fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("PRIVATE KEY")) {
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
                *found += 1;
            }
        }
    }
    let original = released();
    let work = |dir: &Path| rotate(dir, Part::Root { until: None }, &mut nobody_to_ask, now()).map(drop);
    let most = std::cell::Cell::new(0);
    cut_off(original.path(), work, |dir, _| {
        let mut found = 0;
        secrets(dir, &mut found);
        most.set(most.get().max(found));
    });
    assert_eq!(most.get(), 8, "three that are in use, five beside them");
}
