//! The language of the golden scripts: what happens to a server, step by step.
//!
//! ```text
//!   publish WORDS               the feed's address answers with this document (see `feed`)
//!   publish-octets TEXT         it answers with this text
//!   unreachable                 nobody answers
//!   fact NAME VERSION           what is installed
//!   clock 31m                   time passes
//!   block ID | unblock ID | revert ID | retry ID-OR-TARGET      the operator's word
//!   mitigations-enabled BOOL
//!   pause 2h | resume | approve ID | unapprove ID               under an account named `alice`
//!   approval required|automatic                                 the configuration
//!   rings PERCENT=TIME… | critical-at-once                      likewise; `rings` alone: none
//!   observe true|false                                          likewise
//!   removal manual|automatic
//!   delete PATH | edit-rules | damage PATH                      somebody else's hand
//!   sign-in | silence | move-site | answers                                 what stands in front of the site
//!   plan | cycle                what it would do, and does
//! ```

use std::fmt::Write;

use stopgap_agent::cycle::{Done, Mode};
use stopgap_agent::operator::{Pause, Terms};
use stopgap_core::policy::{Approval, Approved, Removal};
use stopgap_feed::document::Wave;

use crate::feed::document;
use crate::world::{World, unreachable};

/// Plays a script (`> step` lines; comments and blank lines stay) and returns it with what each step
/// printed below it.
pub fn play(script: &str) -> String {
    let mut world = World::new();
    let mut names = Names::default();
    let mut transcript = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        transcript.push_str(line);
        transcript.push('\n');
        if let Some(step) = line.strip_prefix("> ") {
            let printed = perform(&mut world, step);
            for line in names.shorten(&printed).lines() {
                writeln!(transcript, "  {line}").unwrap();
            }
        }
    }
    transcript
}

fn perform(world: &mut World, step: &str) -> String {
    let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
    match verb {
        "publish" => world.publish(document(rest, world.now)),
        "publish-octets" => world.publish(rest.as_bytes().to_vec()),
        "unreachable" => world.feed = unreachable("connection refused"),
        "fact" => {
            let (name, version) = rest.split_once(' ').unwrap();
            world.facts.insert(name.into(), version.into());
        }
        "clock" => world.wait(rest.parse().unwrap()),
        "block" => world.operator(|operator| operator.block(rest.parse().unwrap(), Terms::default())),
        "revert" => world.operator(|operator| {
            operator.block(rest.parse().unwrap(), Terms { take_off: true, ..Terms::default() });
        }),
        "unblock" => world.operator(|operator| assert!(operator.unblock(&rest.parse().unwrap()))),
        "retry" => {
            let mut ledger = world.ledger();
            assert!(stopgap_agent::operator::retry(&mut ledger, rest), "nothing to retry: {rest}");
            world.home.save_ledger(&world.host, &ledger).unwrap();
        }
        "mitigations-enabled" => {
            world.operator(|operator| operator.mitigations_enabled = Some(rest.parse().unwrap()));
        }
        "pause" => {
            let until = world.now.checked_add(rest.parse::<jiff::SignedDuration>().unwrap()).unwrap();
            let pause = Pause { until, since: world.now, by: "alice".into(), reason: None };
            world.operator(|operator| operator.pause = Some(pause));
        }
        "resume" => world.operator(|operator| operator.pause = None),
        "approve" => {
            let key = format!("example:{rest}").parse().unwrap();
            let selection = world.cycle(Mode::Plan).unwrap().selection;
            let digest = selection.get(&key).unwrap().digest.clone();
            let (at, by) = (world.now, "alice".into());
            world.operator(|operator| {
                operator.approve(Approved { key, digest, at, by, reason: None });
            });
        }
        "unapprove" => {
            let key = format!("example:{rest}").parse().unwrap();
            world.operator(|operator| assert!(operator.unapprove(&key)));
        }
        "approval" => {
            let required = rest == "required";
            world.config.approval = if required { Approval::Required } else { Approval::Automatic };
        }
        "observe" => world.config.observe = rest.parse().unwrap(),
        "removal" => {
            world.config.removal = if rest == "manual" { Removal::Manual } else { Removal::Automatic };
        }
        "rings" => {
            let ring = |word: &str| {
                let (percent, after) = word.split_once('=').unwrap();
                let after = after.parse::<jiff::SignedDuration>().unwrap().as_secs();
                Wave { percent: percent.parse().unwrap(), after_seconds: after.try_into().unwrap() }
            };
            world.config.rings = rest.split_whitespace().map(ring).collect();
        }
        "critical-at-once" => world.config.critical_at_once = true,
        "delete" => world.host.take(rest),
        "edit-rules" => world.host.put(world.rules_file(), "<rewrite><rules/></rewrite>"),
        "damage" => world.host.put(rest, "{ this is not what was written"),
        "sign-in" => world.server.lock().unwrap().sign_in = true,
        "move-site" => world.server.lock().unwrap().moved = true,
        "silence" => world.server.lock().unwrap().silent = true,
        "answers" => {
            let mut server = world.server.lock().unwrap();
            (server.sign_in, server.silent, server.moved) = (false, false, false);
        }
        "plan" => {
            let before = world.host.tree("/");
            let printed = outcome(world, Mode::Plan);
            assert_eq!(world.host.tree("/"), before, "a plan changes nothing");
            return printed;
        }
        "cycle" => return outcome(world, Mode::Apply) + &refused(world),
        other => panic!("`{other}` is no step"),
    }
    String::new()
}

fn outcome(world: &World, mode: Mode) -> String {
    match world.cycle(mode) {
        Ok(done) => print(&done, mode),
        Err(error) => format!("error: {error}\n"),
    }
}

fn print(done: &Done, mode: Mode) -> String {
    let mut text = String::new();
    let out = &mut text;
    for step in done.plan.steps() {
        let kind = format!("{:?}", step.kind).to_lowercase();
        let what = if step.path.is_empty() { step.detail } else { step.path };
        writeln!(out, "step   {} {kind} {what}", step.target).unwrap();
    }
    if mode == Mode::Apply {
        for event in &done.events {
            writeln!(out, "event  {} {event}", event.id()).unwrap();
        }
    }
    for feed in &done.report.feeds {
        let serial = feed.serial.map_or("none".to_owned(), |serial| serial.to_string());
        let error = match (&feed.error, &feed.message) {
            (Some(code), Some(message)) => format!(", {code}: {message}"),
            _ => String::new(),
        };
        writeln!(out, "feed   {}: serial {serial}{error}", feed.name).unwrap();
    }
    for mitigation in &done.report.mitigations {
        let force = if mitigation.in_force { "in force" } else { "not in force" };
        let reason = mitigation.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let (verdict, status) = (mitigation.verdict, mitigation.status);
        writeln!(out, "status {} {verdict}, {status:?}, {force}{reason}", mitigation.id).unwrap();
    }
    if let Some(pause) = &done.report.paused {
        writeln!(out, "paused until {} by {}", pause.until, pause.by).unwrap();
    }
    if let Some(due) = done.due {
        writeln!(out, "next   {due}").unwrap();
    }
    for warning in &done.report.warnings {
        writeln!(out, "warning {warning}").unwrap();
    }
    for (holds, word) in
        [(done.failed, "failed"), (done.reverted, "reverted"), (done.untrusted, "no feed is trusted")]
    {
        if holds {
            writeln!(out, "ended: {word}").unwrap();
        }
    }
    text
}

/// What a client sees.
fn refused(world: &World) -> String {
    let paths = ["/", "/m1", "/m2", "/m3"];
    let refused: Vec<&str> = paths.into_iter().filter(|path| world.refuses(path)).collect();
    format!("client is refused: {}\n", if refused.is_empty() { "nothing".into() } else { refused.join(" ") })
}

/// Digests become `set-1`, `set-2`, in the order in which they are seen: what a script shows does not
/// depend on how a driver words its files.
#[derive(Default)]
struct Names(Vec<String>);

impl Names {
    fn shorten(&mut self, text: &str) -> String {
        let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let mut short = String::new();
        let mut rest = text;
        while let Some(start) = rest.find(is_hex) {
            let run = rest[start..].find(|c| !is_hex(c)).unwrap_or(rest.len() - start);
            short.push_str(&rest[..start]);
            short.push_str(&self.name(&rest[start..start + run]));
            rest = &rest[start + run..];
        }
        short + rest
    }

    fn name(&mut self, word: &str) -> String {
        if word.len() != 64 {
            return word.to_owned();
        }
        let position = self.0.iter().position(|known| known == word).unwrap_or_else(|| {
            self.0.push(word.to_owned());
            self.0.len() - 1
        });
        format!("set-{}", position + 1)
    }
}
