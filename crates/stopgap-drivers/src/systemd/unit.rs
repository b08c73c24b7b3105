//! A unit as systemd shows it, and the names that units have.

use serde::{Deserialize, Serialize};

/// What is asked of every unit, in systemd's words.
pub(super) const PROPERTIES: [&str; 14] = [
    "Id",
    "Names",
    "LoadState",
    "UnitFileState",
    "FragmentPath",
    "DropInPaths",
    "ActiveState",
    "SubState",
    "RefuseManualStop",
    "TriggeredBy",
    "RequiredBy",
    "RequisiteOf",
    "BoundBy",
    "ConsistsOf",
];

/// A unit. Words are systemd's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name, with its type.
    pub id: String,
    /// All its names, aliases included.
    pub names: Vec<String>,
    /// `loaded`, `masked`, `not-found`, `error`, `bad-setting`.
    pub load: String,
    /// `enabled`, `static`, `masked`, …; empty where it has no file.
    pub enablement: String,
    /// Its file.
    pub fragment: String,
    /// The files that add to it.
    pub drop_ins: Vec<String>,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`.
    pub active: String,
    /// The same in the words of its type: `running`, `listening`.
    pub sub: String,
    /// Nobody may stop it by hand.
    pub refuses_stop: bool,
    /// Sockets, timers and paths that start it.
    pub triggered_by: Vec<String>,
    /// What stops when it stops: what requires it, is bound to it, or is a part of it.
    pub dependents: Vec<String>,
}

impl Unit {
    /// From its properties.
    pub(super) fn of(properties: &[(String, String)]) -> Unit {
        let mut unit = Unit::default();
        for (property, value) in properties {
            unit.set(property, value);
        }
        unit
    }

    /// There is such a unit.
    pub(super) fn exists(&self) -> bool {
        !matches!(self.load.as_str(), "" | "not-found")
    }

    /// It does something, or is about to.
    pub(super) fn runs(&self) -> bool {
        !matches!(self.active.as_str(), "" | "inactive" | "failed")
    }

    /// Its state in words: `active (running)`.
    pub(super) fn state(&self) -> String {
        if self.sub.is_empty() { self.active.clone() } else { format!("{} ({})", self.active, self.sub) }
    }

    /// Reads one property.
    fn set(&mut self, property: &str, value: &str) {
        let words = || value.split_whitespace().map(str::to_owned);
        match property {
            "Id" => self.id = value.to_owned(),
            "Names" => self.names = words().collect(),
            "LoadState" => self.load = value.to_owned(),
            "UnitFileState" => self.enablement = value.to_owned(),
            "FragmentPath" => self.fragment = value.to_owned(),
            "DropInPaths" => self.drop_ins = words().collect(),
            "ActiveState" => self.active = value.to_owned(),
            "SubState" => self.sub = value.to_owned(),
            "RefuseManualStop" => self.refuses_stop = value == "yes",
            // systemd keeps them in no order, and a plan is to say the same each time.
            "TriggeredBy" => {
                self.triggered_by = words().collect();
                self.triggered_by.sort();
            }
            "RequiredBy" | "RequisiteOf" | "BoundBy" | "ConsistsOf" => {
                for name in words().filter(|name| !self.dependents.contains(name)).collect::<Vec<_>>() {
                    self.dependents.push(name);
                }
            }
            _ => {}
        }
    }
}

/// What `systemctl show` prints: properties line by line, units apart by an empty line.
pub(super) fn read(text: &str) -> Vec<Unit> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    let unit = |block: &str| {
        let mut unit = Unit::default();
        for (property, value) in block.lines().filter_map(|line| line.split_once('=')) {
            unit.set(property, value.trim());
        }
        unit
    };
    blocks.map(unit).collect()
}

/// A name as systemd has it, with `.service` where it has no type; `None`: no unit of a kind that starts and
/// stops can have it. What systemd would take for a pattern, an option or a template is none.
pub(super) fn full_name(name: &str) -> Option<String> {
    let kinds = [".service", ".socket", ".timer", ".path"];
    let full = match kinds.iter().any(|kind| name.ends_with(kind)) {
        true => name.to_owned(),
        false => format!("{name}.service"),
    };
    let prefix = full.rsplit_once('.').map_or("", |(prefix, _)| prefix);
    let valid = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let fits = !prefix.is_empty() && full.len() < 256 && full.chars().all(valid);
    (fits && !full.starts_with(['-', '.']) && !prefix.ends_with('@')).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_type_and_nothing_that_systemd_would_read_otherwise() {
        for (name, full) in [
            ("cups", "cups.service"),
            ("cups.socket", "cups.socket"),
            ("php8.2-fpm", "php8.2-fpm.service"),
            ("getty@tty1", "getty@tty1.service"),
            ("a.slice", "a.slice.service"),
        ] {
            assert_eq!(full_name(name).as_deref(), Some(full));
        }
        for bad in ["", "--all", "*", "cups*", "getty@", "getty@.service", "a b", "../a", ".service", "a/b"] {
            assert_eq!(full_name(bad), None, "{bad}");
        }
    }

    #[test]
    fn units_are_read_as_systemctl_shows_them() {
        let text = "Id=cups.service\nNames=cupsd.service cups.service\nLoadState=loaded\nActiveState=active\n\
                    SubState=running\nRequiredBy=\nBoundBy=a.service\nConsistsOf=b.service a.service\n\
                    TriggeredBy=cups.path cups.socket\nRefuseManualStop=no\n\nId=x.service\nLoadState=not-found\n\
                    ActiveState=inactive\nSubState=dead\n";
        let units = read(text);
        assert_eq!(units.len(), 2);
        assert_eq!(units[0].dependents, ["a.service", "b.service"]);
        assert_eq!(units[0].triggered_by, ["cups.path", "cups.socket"]);
        assert_eq!(units[0].state(), "active (running)");
        assert!(units[0].exists() && units[0].runs() && !units[0].refuses_stop);
        assert!(!units[1].exists() && !units[1].runs());
    }
}
