//! Drives C: by chance: a few sites, applications within applications, folders that several levels share, and
//! configuration files with few names, so that they meet.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::HOST;

/// Which levels lie over which folder.
#[derive(Debug, Clone)]
pub struct Layout {
    app: &'static str,
    inner: &'static str,
    virtual_directory: &'static str,
    other: &'static str,
    sub_dirs: bool,
    /// Whether the pool of `/app` reads no web.config.
    deaf: bool,
}

/// One part of a file: directly in it, or in a location.
#[derive(Debug, Clone)]
pub struct Block {
    location: Option<Location>,
    sections: Vec<String>,
}

#[derive(Debug, Clone)]
struct Location {
    path: &'static str,
    inherit: bool,
    mode: &'static str,
}

/// Everything on the drive.
#[derive(Debug, Clone)]
pub struct Drive {
    layout: Layout,
    rules_locked: bool,
    /// Maps may stand in the files of applications alone.
    maps_of_applications: bool,
    /// A file that ends in the middle.
    broken: Option<usize>,
    /// No section twice for one path in one file.
    tidy: bool,
    host: Vec<Block>,
    files: BTreeMap<&'static str, Vec<Block>>,
}

const FOLDERS: [&str; 7] = ["site", "app", "app/in", "vd", "site/dir", "deep", "other"];

pub fn drives() -> impl Strategy<Value = Drive> {
    let layout = (
        select(vec!["app", "site"]),
        select(vec!["app/in", "app", "site"]),
        select(vec!["vd", "site"]),
        select(vec!["other", "site"]),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.1),
    );
    let layout = layout.prop_map(|(app, inner, virtual_directory, other, sub_dirs, deaf)| Layout {
        app,
        inner,
        virtual_directory,
        other,
        sub_dirs,
        deaf,
    });
    let host = vec!["", ".", "Site", "site/APP", "Site/app/in", "Site/vd", "Site/dir", "Other"];
    let file = vec!["", ".", "app", "In", "vd", "dir", "dir/deep"];
    let files = prop::collection::btree_map(select(FOLDERS.to_vec()), blocks(file, 0), 0..6);
    let declared = (prop::bool::weighted(0.1), prop::bool::weighted(0.1));
    let text = (prop::bool::weighted(0.9), prop::option::weighted(0.05, 0..4usize));
    (layout, declared, text, blocks(host, 3), files).prop_map(
        |(layout, (rules_locked, maps_of_applications), (tidy, broken), host, files)| Drive {
            layout,
            rules_locked,
            maps_of_applications,
            broken,
            tidy,
            host,
            files,
        },
    )
}

/// `global`: how often a part has global rules, in ten.
fn blocks(paths: Vec<&'static str>, global: u32) -> impl Strategy<Value = Vec<Block>> {
    let location = (
        select(paths),
        prop::bool::weighted(0.7),
        select(vec!["", "", "", "", "", "", "", "", "Allow", "Deny", "Inherit", "true", "false"]),
    );
    let location = location.prop_map(|(path, inherit, mode)| Location { path, inherit, mode });
    let block = (prop::option::weighted(0.5, location), prop::collection::vec(section(global), 1..4))
        .prop_map(|(location, sections)| Block { location, sections });
    prop::collection::vec(block, 0..4)
}

fn name() -> impl Strategy<Value = &'static str> {
    // A few that mean something below, and enough of others that they do not always meet.
    select("a b c A d e f g h i j k l m n o p q r s t u v w".split(' ').collect::<Vec<_>>())
}

/// Directives of a collection; `add` makes one that adds.
fn directives(add: fn(&str, &str) -> String) -> impl Strategy<Value = String> {
    let one = prop_oneof![
        9 => (name(), prop::bool::weighted(0.05)).prop_map(move |(name, lock)| {
            add(name, if lock { " lockItem=\"true\"" } else { "" })
        }),
        3 => name().prop_map(|name| format!("<remove name=\"{name}\"/>")),
        1 => Just("<clear/>".to_owned()),
    ];
    prop::collection::vec(one, 0..4).prop_map(|all| all.concat())
}

/// A lock on a section, one in five times.
fn lock(elements: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let some = prop_oneof![
        select(elements.to_vec()).prop_map(|names| format!(" lockElements=\"{names}\"")),
        Just(" lockItem=\"true\"".to_owned()),
        Just(" lockAllElementsExcept=\"rule\"".to_owned()),
    ];
    prop_oneof![4 => Just(String::new()), 1 => some]
}

fn section(global: u32) -> impl Strategy<Value = String> {
    let rule = |name: &str, lock: &str| {
        // Two of the names set a variable.
        let variables = match name {
            "c" => "<serverVariables><set name=\"HTTP_C\" value=\"1\"/></serverVariables>",
            "d" => {
                "<conditions><add input=\"{URL}\" pattern=\"x\"/><add input=\"{URL}\" pattern=\"x\"/></conditions>"
            }
            _ => "",
        };
        format!("<rule name=\"{name}\"{lock}><match url=\".\"/>{variables}<action type=\"None\"/></rule>")
    };
    let outbound = |name: &str, lock: &str| {
        let needs = if name == "a" { " preCondition=\"b\"" } else { "" };
        format!(
            "<rule name=\"{name}\"{needs}{lock}><match serverVariable=\"RESPONSE_X\" pattern=\".\"/>\
             <action type=\"Rewrite\" value=\"y\"/></rule>"
        )
    };
    let condition = |name: &str, lock: &str| {
        let twice = if name == "d" { "<add input=\"{URL}\" pattern=\"x\" negate=\"false\"/>" } else { "" };
        format!(
            "<preCondition name=\"{name}\"{lock}><add input=\"{{URL}}\" pattern=\"x\"/>{twice}</preCondition>"
        )
    };
    let map = |name: &str, lock: &str| {
        format!(
            "<rewriteMap name=\"{name}\"{lock}><add key=\"k\" value=\"1\"/><add key=\"K\" value=\"2\"/></rewriteMap>"
        )
    };
    let variable = |name: &str, lock: &str| format!("<add name=\"HTTP_{name}\"{lock}/>");
    prop_oneof![
        20 => (lock(&["clear", "remove,clear", "rule"]), directives(rule)).prop_map(|(lock, all)| format!("<rules{lock}>{all}</rules>")),
        global => directives(rule).prop_map(|all| format!("<globalRules>{all}</globalRules>")),
        15 => (lock(&["preConditions", "clear", "rule,remove"]), prop::option::of(directives(condition)), directives(outbound)).prop_map(|(lock, conditions, all)| {
            let conditions = conditions.map_or(String::new(), |c| format!("<preConditions>{c}</preConditions>"));
            format!("<outboundRules{lock}>{conditions}{all}</outboundRules>")
        }),
        8 => directives(map).prop_map(|all| format!("<rewriteMaps>{all}</rewriteMaps>")),
        1 => directives(variable).prop_map(|all| format!("<allowedServerVariables>{all}</allowedServerVariables>")),
    ]
}

impl Drive {
    /// The files, path -> text.
    pub fn files(&self, sections: &str) -> BTreeMap<String, String> {
        let declared = |on: bool, name: &str, with: &str| match on {
            true => format!("name=\"{name}\" {with}"),
            false => format!("name=\"{name}\" overrideModeDefault=\"Allow\""),
        };
        let sections = sections
            .replace(
                "name=\"rules\" overrideModeDefault=\"Allow\"",
                &declared(self.rules_locked, "rules", "overrideModeDefault=\"Deny\""),
            )
            .replace(
                "name=\"rewriteMaps\" overrideModeDefault=\"Allow\"",
                &declared(
                    self.maps_of_applications,
                    "rewriteMaps",
                    "allowDefinition=\"MachineToApplication\"",
                ),
            );
        let Layout { app, inner, virtual_directory, other, sub_dirs, deaf } = &self.layout;
        let folder = |path: &str| format!("C:\\{}", path.replace('/', "\\"));
        let application = |url: &str, path: &str, more: &str| {
            format!(
                "<application path=\"{url}\"><virtualDirectory path=\"/\" physicalPath=\"{}\"/>{more}</application>",
                folder(path)
            )
        };
        let more = format!("<virtualDirectory path=\"/vd\" physicalPath=\"{}\"/>", folder(virtual_directory));
        let sites = format!(
            "<system.applicationHost><applicationPools><add name=\"P\" enableConfigurationOverride=\"{}\"/></applicationPools>\
             <sites><site name=\"Site\">{}{}{}{}</site><site name=\"Other\">{}</site>\
             <virtualDirectoryDefaults allowSubDirConfig=\"{sub_dirs}\"/></sites></system.applicationHost>",
            !deaf,
            application("/", "site", &more),
            application("/app\" applicationPool=\"P", app, ""),
            application("/app/in", inner, ""),
            application("/dir/deep", "deep", ""),
            application("/", other, ""),
        );
        let mut files = BTreeMap::new();
        files.insert(HOST.to_owned(), text(&format!("{sections}{sites}"), &self.host, self.tidy));
        for (folder, blocks) in &self.files {
            files.insert(format!("{folder}/web.config"), text("", blocks, self.tidy));
        }
        if let Some(file) = self.broken.and_then(|n| self.files.keys().nth(n)) {
            let text = files.get_mut(&format!("{file}/web.config")).unwrap();
            text.truncate(text.len() - "</configuration>".len());
        }
        files
    }
}

fn text(head: &str, blocks: &[Block], tidy: bool) -> String {
    let mut seen = BTreeSet::new();
    let mut out = format!("<configuration>{head}\n");
    for Block { location, sections } in blocks {
        let path = location.as_ref().map_or("", |location| location.path).trim_matches('.').to_lowercase();
        let kind = |section: &str| section[..section.find([' ', '>']).unwrap()].to_owned();
        let sections = sections.iter().filter(|section| seen.insert((path.clone(), kind(section))) || !tidy);
        let sections: String = sections.map(String::as_str).collect();
        let inner = format!("<system.webServer><rewrite>{sections}</rewrite></system.webServer>");
        out += &match location {
            None => inner,
            Some(Location { path, inherit, mode }) => {
                let path = if path.is_empty() { String::new() } else { format!(" path=\"{path}\"") };
                let inherit = if *inherit { "" } else { " inheritInChildApplications=\"false\"" };
                let mode = match *mode {
                    "" => String::new(),
                    "true" | "false" => format!(" allowOverride=\"{mode}\""),
                    mode => format!(" overrideMode=\"{mode}\""),
                };
                format!("<location{path}{inherit}{mode}>{inner}</location>")
            }
        };
        out += "\n";
    }
    out + "</configuration>"
}
