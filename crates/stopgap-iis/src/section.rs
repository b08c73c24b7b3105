//! The sections of `system.webServer/rewrite`, and how a server declares them.

use std::collections::BTreeMap;

use crate::document::Element;

/// A section of `system.webServer/rewrite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Section {
    /// Rules of the whole server, before all others.
    GlobalRules,
    /// Rules for requests.
    Rules,
    /// Rules for responses, with their preconditions and tags.
    OutboundRules,
    /// Tables that rules look things up in.
    RewriteMaps,
    /// Variables that rules below the server may set.
    AllowedServerVariables,
    /// .NET code that rules call. Known by name; its settings are not read.
    Providers,
}

impl Section {
    const ALL: [(Section, &'static str); 6] = [
        (Section::GlobalRules, "globalRules"),
        (Section::Rules, "rules"),
        (Section::OutboundRules, "outboundRules"),
        (Section::RewriteMaps, "rewriteMaps"),
        (Section::AllowedServerVariables, "allowedServerVariables"),
        (Section::Providers, "providers"),
    ];

    /// Its element's name.
    pub fn name(self) -> &'static str {
        Section::ALL.iter().find(|(section, _)| *section == self).map_or("", |(_, name)| name)
    }

    pub(crate) fn named(name: &str) -> Option<Section> {
        Section::ALL.iter().find(|(_, found)| *found == name).map(|(section, _)| *section)
    }
}

/// Whether files below may say something about a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverrideMode {
    /// As the parent has it.
    #[default]
    Inherit,
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// `allowDefinition`: where a section can stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Definition {
    /// In any file.
    #[default]
    Everywhere,
    /// In `applicationHost.config`.
    AppHostOnly,
    /// There, and in the `web.config` of a site or an application.
    MachineToApplication,
    /// In files of .NET's that IIS does not read rules from.
    MachineOnly,
}

/// `<section>` of `applicationHost.config`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declaration {
    /// `overrideModeDefault`; `Allow` where it says nothing.
    pub overridden: OverrideMode,
    /// `allowDefinition`.
    pub definition: Definition,
    /// `allowLocation`.
    pub location: bool,
}

/// What `<configSections>` says of the sections here.
pub(crate) fn declarations(root: Element) -> BTreeMap<Section, Declaration> {
    let mut found = BTreeMap::new();
    // A group can be written several times.
    let groups = root
        .named("configSections")
        .flat_map(|all| group(all, "system.webServer"))
        .flat_map(|outer| group(outer, "rewrite"));
    for section in groups.flat_map(|group| group.named("section")) {
        let Some(name) = section.attribute("name").and_then(|name| Section::named(&name)) else { continue };
        let is = |attribute: &str, word: &str| {
            section.attribute(attribute).is_some_and(|value| value.eq_ignore_ascii_case(word))
        };
        found.entry(name).or_insert(Declaration {
            overridden: if is("overrideModeDefault", "Deny") {
                OverrideMode::Deny
            } else {
                OverrideMode::Allow
            },
            definition: match section.attribute("allowDefinition").as_deref() {
                Some("AppHostOnly") => Definition::AppHostOnly,
                Some("MachineToApplication") => Definition::MachineToApplication,
                Some("MachineOnly" | "MachineToRootWeb") => Definition::MachineOnly,
                _ => Definition::Everywhere,
            },
            location: !is("allowLocation", "false"),
        });
    }
    found
}

fn group<'d>(of: Element<'d>, name: &'static str) -> impl Iterator<Item = Element<'d>> {
    of.named("sectionGroup").filter(move |group| group.attribute("name").as_deref() == Some(name))
}
