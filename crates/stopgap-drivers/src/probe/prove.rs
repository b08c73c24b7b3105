//! The proof of a change: each probe at each listener of its sites, before and after.
//!
//! ```text
//!   questions()      which probe goes to which listener, with the answer before the change
//!      | the change is made
//!   prove()          asked again until each answer is settled
//!      v
//!   Shown            what each pair of answers shows; harms() are reasons to revert
//! ```

use std::time::Duration;

use stopgap_core::observed::{Listener, Observed};
use stopgap_core::plan::{Placement, Wanted};
use stopgap_core::proof::{Answer, Judgement, RefusalForm, judge};
use stopgap_feed::document::{Expect, Probe};
use stopgap_feed::{Id, Key};
use stopgap_rules::pattern::{Budget, Pattern, PatternLimits};

use super::ask;
use crate::host::Host;

/// Steps of one header pattern over one value: a value has some KiB.
const HEADER_STEPS: u64 = 1_000_000;

/// One probe at one listener, with the answer before the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The mitigation.
    pub key: Key,
    /// Its actions that are placed on the site, and how each refuses there. A probe proves the
    /// mitigation, so any of them may be the one that answers.
    pub actions: Vec<(Id, RefusalForm)>,
    /// The site.
    pub site: String,
    /// The listener.
    pub listener: Listener,
    /// The probe.
    pub probe: Probe,
    /// The baseline.
    pub before: Answer,
}

/// What a question showed in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The question.
    pub question: Question,
    /// The last answer.
    pub after: Answer,
    /// What the two answers show.
    pub judgement: Judgement,
}

/// How long an answer may take to become right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a legitimate request that stopped working: an application may restart. It does not hold
    /// where the answer is the rule's own refusal, which no restart explains.
    pub restart: Duration,
    /// For everything else: a server changes its workers.
    pub handover: Duration,
    /// Between two rounds.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            restart: Duration::from_secs(120),
            handover: Duration::from_secs(5),
            pause: Duration::from_millis(50),
        }
    }
}

/// Sends each probe once to every listener of the sites where its mitigation is placed: the
/// baseline. A site or listener that is not in `observed` has no question.
pub fn questions(
    host: &dyn Host,
    wanted: &[Wanted],
    placements: &[Placement],
    observed: &Observed,
    nonce: u64,
) -> Vec<Question> {
    let mut questions: Vec<Question> = Vec::new();
    for Group { key, site, actions } in grouped(placements) {
        let of = |w: &&Wanted| w.key == key && actions.iter().any(|(action, _)| *action == w.action.id);
        let Some(of) = wanted.iter().find(of) else { continue };
        // What is only observed shows nothing to a client but that what worked still does.
        let probes = of.probes.iter().filter(|probe| !of.observe || probe.expect == Expect::Allowed);
        let listeners = observed.sites.iter().filter(|s| s.name == site).flat_map(|s| &s.listeners);
        for listener in listeners {
            for probe in probes.clone() {
                questions.push(Question {
                    before: ask(host, listener, probe, &key, nonce),
                    key: key.clone(),
                    actions: actions.clone(),
                    site: site.clone(),
                    listener: listener.clone(),
                    probe: probe.clone(),
                });
            }
        }
    }
    questions
}

/// Asks every question again until its answer is settled, and judges.
pub fn prove(host: &dyn Host, questions: Vec<Question>, patience: Patience, nonce: u64) -> Vec<Shown> {
    let start = host.monotonic();
    let mut shown: Vec<Shown> = questions.into_iter().map(|question| look(host, question, nonce)).collect();
    loop {
        let waited = host.monotonic().saturating_sub(start);
        let open: Vec<&mut Shown> = shown.iter_mut().filter(|s| waited < s.patience(patience)).collect();
        if open.is_empty() {
            return shown;
        }
        host.pause(patience.pause);
        for one in open {
            *one = look(host, one.question.clone(), nonce);
        }
    }
}

/// What of it is a reason to revert.
pub fn harms(shown: &[Shown]) -> impl Iterator<Item = (&Question, &str)> {
    shown.iter().filter_map(|s| match &s.judgement {
        Judgement::Harm(why) => Some((&s.question, why.as_str())),
        _ => None,
    })
}

fn look(host: &dyn Host, question: Question, nonce: u64) -> Shown {
    let after = ask(host, &question.listener, &question.probe, &question.key, nonce);
    let judgement = question.judge(&after);
    Shown { question, after, judgement }
}

impl Question {
    /// What `after` shows, given the baseline: the best that it shows of any of the actions.
    pub fn judge(&self, after: &Answer) -> Judgement {
        let matches = |value: &str| self.header_matches(value);
        let forms = self.actions.iter().map(|(_, form)| *form);
        forms
            .map(|form| judge(&self.probe.expect, form, &self.before, after, matches))
            .min_by_key(|judgement| match judgement {
                Judgement::Proven => 0,
                Judgement::Unproven(_) => 1,
                Judgement::Ineffective(_) => 2,
                Judgement::Harm(_) => 3,
            })
            .unwrap_or_else(|| Judgement::Unproven("no action of it is placed here".into()))
    }

    fn header_matches(&self, value: &str) -> bool {
        match &self.probe.expect {
            // A pattern that does not compile matches nothing: Ineffective, which alarms. The
            // publisher's linter does not let one out.
            Expect::Header { pattern, .. } => pattern_matches(pattern, value),
            _ => false,
        }
    }
}

fn pattern_matches(pattern: &str, value: &str) -> bool {
    Pattern::compile(pattern, true, &PatternLimits::default())
        .is_ok_and(|p| p.is_match(value, &mut Budget::new(HEADER_STEPS)) == Ok(true))
}

impl Shown {
    /// How long from the start it is asked again.
    fn patience(&self, patience: Patience) -> Duration {
        match &self.judgement {
            Judgement::Proven => Duration::ZERO,
            Judgement::Harm(_) if self.refused_by_rule() => patience.handover,
            Judgement::Harm(_) => patience.restart.max(patience.handover),
            Judgement::Ineffective(_) => patience.handover,
            // Silence now where there was an answer before may be a worker on its way out.
            Judgement::Unproven(_)
                if matches!(self.after, Answer::None(_))
                    && !matches!(self.question.before, Answer::None(_)) =>
            {
                patience.handover
            }
            Judgement::Unproven(_) => Duration::ZERO,
        }
    }

    /// Whether the last answer is what a rule of the mitigation gives to whom it refuses.
    pub fn refused_by_rule(&self) -> bool {
        self.question.actions.iter().any(|(_, form)| match (form, &self.after) {
            (RefusalForm::Close, Answer::Closed) => true,
            (RefusalForm::Status(code), Answer::Response { status, .. }) => status == code,
            _ => false,
        })
    }
}

/// The actions of one mitigation that are placed on one site.
struct Group {
    key: Key,
    site: String,
    actions: Vec<(Id, RefusalForm)>,
}

/// In the order of the placements.
fn grouped(placements: &[Placement]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for placement in placements {
        let action = (placement.what.action.clone(), placement.form);
        match groups.iter_mut().find(|group| group.key == placement.what.key && group.site == placement.site)
        {
            Some(group) => group.actions.push(action),
            None => groups.push(Group {
                key: placement.what.key.clone(),
                site: placement.site.clone(),
                actions: vec![action],
            }),
        }
    }
    groups
}
