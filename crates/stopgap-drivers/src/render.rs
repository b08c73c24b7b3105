//! What rendering has in common for targets that take rewrite rules: which action goes where, how
//! it refuses there, and what of a set is new.

use std::collections::BTreeMap;
use std::path::Path;

use stopgap_core::observed::{Hold, Hook, Live, Observed};
use stopgap_core::plan::{ActionRef, Change, GeneratedSet, Placement, Rendered, Wanted};
use stopgap_core::proof::RefusalForm;
use stopgap_feed::document::ActionKind;
use stopgap_rules::translate::{CannotExpress, SiteRules, can_be_observed};
use stopgap_rules::{Action, RuleSet};

use crate::server::Server;
use crate::set::LIVE;

/// The word in [`Observed::lacks`] for what a target lacks to log what is observed.
pub(crate) const OBSERVING: &str = "observing";

/// One wanted action, read.
pub(crate) struct Piece<'a> {
    pub wanted: &'a Wanted,
    /// The `<rewrite>` element.
    pub rewrite: &'a str,
    pub rules: RuleSet,
}

impl<'a> Piece<'a> {
    /// Reads the rules of an action; the reason where it has none or they are not understood.
    pub(crate) fn read(wanted: &'a Wanted) -> Result<Piece<'a>, String> {
        let ActionKind::UrlRewrite { rewrite } = &wanted.action.kind else {
            return Err(format!(
                "it takes actions of type UrlRewrite, and this is one of type {:?}",
                wanted.action.kind.action_type()
            ));
        };
        let mut rules = RuleSet::parse(rewrite).map_err(|e| with_causes(&e))?;
        if wanted.observe {
            // What changes responses is no more to be seen by a client than what refuses.
            rules.outbound.clear();
            rules.pre_conditions.clear();
        }
        Ok(Piece { wanted, rewrite, rules })
    }

    pub(crate) fn what(&self) -> ActionRef {
        action_ref(self.wanted)
    }

    /// `<feed> <action id>`: how what we write is named, after `Stopgap`.
    pub(crate) fn marker(&self) -> String {
        format!("{} {}", self.wanted.key.feed, self.wanted.action.id)
    }

    /// The wanted sites that read our rules, in the order of the configuration.
    pub(crate) fn covered(&self, observed: &Observed) -> Vec<String> {
        let wanted = |name: &String| self.wanted.sites.as_ref().is_none_or(|sites| sites.contains(name));
        let covered = observed.sites.iter().filter(|site| site.hook == Hook::Present);
        covered.map(|site| site.name.clone()).filter(wanted).collect()
    }

    pub(crate) fn hold(&self, sites: Vec<String>) -> Hold {
        hold(self.wanted, sites)
    }

    /// Why it cannot be observed: nothing of it refuses, or the target lacks what observing needs.
    pub(crate) fn check_observing(&self, observed: &Observed) -> Result<(), String> {
        if !self.wanted.observe {
            return Ok(());
        }
        if !can_be_observed(&self.rules) {
            return Err(
                "it refuses nothing, so that there is nothing to observe; `observe = false` puts it on"
                    .into(),
            );
        }
        observed.lacks.get(OBSERVING).map_or(Ok(()), |why| Err(why.clone()))
    }

    pub(crate) fn placements(&self, sites: &[String]) -> impl Iterator<Item = Placement> {
        self.placements_as(sites, RefusalForm::Close)
    }

    /// `abort`: how this target carries AbortRequest out.
    fn placements_as(&self, sites: &[String], abort: RefusalForm) -> impl Iterator<Item = Placement> {
        let form = match self.wanted.observe {
            true => RefusalForm::Nothing,
            false => refusal_form(&self.rules, abort),
        };
        sites.iter().map(move |site| Placement { what: self.what(), site: site.clone(), form })
    }
}

/// An error with its causes, on one line.
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(crate) fn action_ref(wanted: &Wanted) -> ActionRef {
    ActionRef { key: wanted.key.clone(), action: wanted.action.id.clone() }
}

/// An action in force at these sites.
pub(crate) fn hold(wanted: &Wanted, sites: Vec<String>) -> Hold {
    let Wanted { key, digest, action, observe, .. } = wanted;
    let (key, action) = (key.clone(), action.id.clone());
    Hold { key, action, digest: digest.clone(), sites, observe: *observe }
}

pub(crate) fn held(hold: &Hold) -> ActionRef {
    ActionRef { key: hold.key.clone(), action: hold.action.clone() }
}

/// The wanted actions in the order in which their rules are evaluated.
pub(crate) fn in_order(wanted: &[Wanted]) -> Vec<&Wanted> {
    let mut wanted: Vec<&Wanted> = wanted.iter().collect();
    wanted.sort_by_key(|w| (&w.key, &w.action.id));
    wanted
}

/// How the first rule that refuses does it. The forms of several that differ are not told apart: a
/// probe that meets another one is unproven, never wrongly proven.
fn refusal_form(rules: &RuleSet, abort: RefusalForm) -> RefusalForm {
    let form = |action: &Action| match action {
        Action::AbortRequest => Some(abort),
        Action::CustomResponse { status, .. } => Some(RefusalForm::Status(*status)),
        Action::Redirect { redirect_type, .. } => Some(RefusalForm::Status(redirect_type.status())),
        Action::None | Action::Rewrite { .. } => None,
    };
    let enabled = rules.rules.iter().filter(|rule| rule.enabled);
    enabled.filter_map(|rule| form(&rule.action)).next().unwrap_or(RefusalForm::Nothing)
}

/// A server whose rules are translated for its own engine.
pub(crate) trait Translating: Server {
    /// What a translation makes.
    type Config;

    /// How AbortRequest is carried out.
    const ABORT: RefusalForm;

    /// The sites where an action works, by name; or why it cannot.
    fn sites(&self, piece: &Piece, observed: &Observed) -> Result<Vec<String>, String> {
        Ok(piece.covered(observed))
    }

    /// What the translation takes for sites of a target.
    fn names(&self, sites: &[String]) -> Vec<String>;

    /// All rules of a target, in order.
    fn translate(&self, rules: &[SiteRules]) -> Result<Self::Config, CannotExpress>;

    /// The files of a set, by name.
    fn files(&self, config: &Self::Config) -> BTreeMap<String, String>;
}

/// See [`crate::Driver::render`]. `unused`: the server does not use what is live, although it could.
pub(crate) fn render<S: Translating>(
    server: &S,
    wanted: &[Wanted],
    observed: &Observed,
    unused: bool,
) -> Rendered {
    let mut rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
    let (mut rules, mut holds) = (Vec::new(), Vec::new());
    for wanted in in_order(wanted) {
        match translated(server, wanted, observed) {
            Err(why) => rendered.refused.push((action_ref(wanted), why)),
            Ok((piece, sites, site_rules)) => {
                rendered.placements.extend(piece.placements_as(&sites, S::ABORT));
                holds.push(piece.hold(sites));
                rules.push(site_rules);
            }
        }
    }
    // What is too much together is taken back from the end.
    let config = loop {
        let why = match server.translate(&rules) {
            Ok(config) => break config,
            Err(e) => format!("together with the others: {e}"),
        };
        let (Some(last), Some(_)) = (holds.pop(), rules.pop()) else { return rendered };
        let what = held(&last);
        rendered.placements.retain(|placement| placement.what != what);
        rendered.refused.push((what, why));
    };
    let (settings, files) = (server.settings(), server.files(&config));
    rendered.change = change(&settings.name, &settings.folder, &observed.live, unused, files, holds);
    rendered
}

/// One action alone first: one that the server cannot be told must not keep the others from it.
fn translated<'a>(
    server: &impl Translating,
    wanted: &'a Wanted,
    observed: &Observed,
) -> Result<(Piece<'a>, Vec<String>, SiteRules), String> {
    if !observed.sites.iter().any(|site| site.hook == Hook::Present) {
        return Err(no_hook(observed));
    }
    let piece = Piece::read(wanted)?;
    piece.check_observing(observed)?;
    let sites = server.sites(&piece, observed)?;
    let rules = SiteRules {
        marker: piece.marker(),
        sites: wanted.sites.as_ref().map(|wanted| server.names(wanted)),
        rules: piece.rules.clone(),
        observe: wanted.observe,
    };
    server.translate(std::slice::from_ref(&rules)).map_err(|e| with_causes(&e))?;
    Ok((piece, sites, rules))
}

fn no_hook(observed: &Observed) -> String {
    let why = observed.sites.iter().find_map(|site| match &site.hook {
        Hook::Missing(why) => Some(why.as_str()),
        Hook::Present => None,
    });
    format!(
        "no site reads our rules ({}); `stopgap agent hook` shows what to place",
        why.unwrap_or("there is none")
    )
}

/// What a generated file begins with.
pub(crate) fn header<S: Translating>(server: &S, name: &str) -> String {
    let live = server.settings().folder.join(LIVE);
    // A server that needs the files at all times is left with empty ones.
    let undo = match server.sets().at_all_times {
        true => format!("ln -sfn none {}", live.display()),
        false => format!("remove {}", live.display()),
    };
    format!(
        "# The Stopgap agent writes this file and removes it; edits are reported and undone.\n\
         # To take the rules off by hand: {undo}, and reload {name}.\n"
    )
}

/// The change from what is live to `files` with `holds`; no holds: to nothing of ours. `None`: it
/// is so already, and the server uses it.
pub(crate) fn change(
    target: &str,
    folder: &Path,
    live: &Live,
    unused: bool,
    files: BTreeMap<String, String>,
    holds: Vec<Hold>,
) -> Option<Change> {
    let after = (!holds.is_empty()).then(|| GeneratedSet::new(files, holds));
    change_to(target, folder, live, unused, after)
}

/// See [`change`]: to this set, whether it holds anything or not.
pub(crate) fn change_to(
    target: &str,
    folder: &Path,
    live: &Live,
    unused: bool,
    after: Option<GeneratedSet>,
) -> Option<Change> {
    let same = live.set.as_deref() == after.as_ref().map(|set| set.id.as_str());
    if same && live.foreign.is_empty() && !unused {
        return None;
    }
    let holds = after.as_ref().map(|set| set.holds.as_slice()).unwrap_or_default();
    // On a site that was not among its sites before it is put on, and has to be proven there.
    let stood = |hold: &Hold, before: &Hold| {
        held(before) == held(hold)
            && before.digest == hold.digest
            && before.observe == hold.observe
            && hold.sites.iter().all(|site| before.sites.contains(site))
    };
    let here = |hold: &&Hold| !live.holds.iter().any(|before| stood(hold, before));
    let gone = |hold: &&Hold| !holds.iter().any(|after| held(after) == held(hold));
    Some(Change {
        target: target.to_owned(),
        folder: folder.to_owned(),
        before: live.set.clone(),
        rest: None,
        edits: Vec::new(),
        switches: Vec::new(),
        notes: Vec::new(),
        puts_on: holds.iter().filter(here).map(held).collect(),
        takes_off: live.holds.iter().filter(gone).map(held).collect(),
        after,
    })
}

/// New rules are in force in two steps: for every new connection once they are applied, and for all once what
/// was in progress has ended. What to say between the two.
pub(crate) fn still_by_older_rules(what: &str, count: usize) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    (count > 0).then(|| {
        format!(
            "the rules are in force for every new connection; {count} {what}{plural} of before still end what \
             they had begun, by the rules of then"
        )
    })
}
