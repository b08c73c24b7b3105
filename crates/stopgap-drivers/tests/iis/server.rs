//! A server with IIS on a machine in memory: its files below `/c`, what a mitigation wants there, and the five steps.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Observed;
use stopgap_core::plan::{Change, Rendered, Wanted, sha256_hex};
use stopgap_drivers::Driver;
use stopgap_drivers::host::Output;
use stopgap_drivers::iis::{Iis, Settings, roles};
use stopgap_feed::document::{ActionType, Mitigation};
use stopgap_iis::{Environment, Violation, check};
use stopgap_testkit::host::{FakeHost, Node};

pub const ROOT: &str = "/c";
pub const DATA: &str = "/data/iis";

/// Where a Windows path is.
pub fn place(path: &str) -> PathBuf {
    Path::new(ROOT).join(path.strip_prefix("C:\\").unwrap().replace('\\', "/"))
}

/// Pools at run time: whether each runs.
pub type Pools = Arc<Mutex<BTreeMap<String, bool>>>;

pub struct Server {
    pub host: FakeHost,
    pub pools: Pools,
    pub driver: Iis,
}

impl Server {
    /// With these files, and pools that run; none: without `appcmd`.
    pub fn new(files: &[(String, Vec<u8>)], pools: &[&str]) -> Server {
        let state: Pools =
            Arc::new(Mutex::new(pools.iter().map(|name| ((*name).to_owned(), true)).collect()));
        let running = state.clone();
        let host = FakeHost::new().on_run(move |_, command| {
            let mut pools = running.lock().unwrap();
            Ok(Output {
                status: Some(0),
                stdout: appcmd(&mut pools, &command.args)?.into(),
                ..Output::default()
            })
        });
        for (path, octets) in files {
            host.put(place(path), octets.clone());
        }
        if !pools.is_empty() {
            host.put("/c/Windows/System32/inetsrv/appcmd.exe", "");
        }
        host.put("/data/ledger", "");
        Server { host, pools: state, driver: driver() }
    }

    pub fn observe(&self) -> Observed {
        self.driver.observe(&self.host).unwrap()
    }

    pub fn render(&self, wanted: &[Wanted]) -> Rendered {
        self.driver.render(wanted, &self.observe())
    }

    /// What is refused is a mistake of the test's.
    pub fn plan(&self, wanted: &[Wanted]) -> Option<Change> {
        let rendered = self.render(wanted);
        assert_eq!(rendered.refused, []);
        rendered.change
    }

    pub fn carry_out(&self, change: &Change) {
        self.driver.check(&self.host, change).unwrap();
        self.driver.apply(&self.host, change).unwrap();
        self.driver.settle(&self.host, change).unwrap();
    }

    pub fn bring(&self, wanted: &[Wanted]) -> Change {
        let change = self.plan(wanted).expect("a change");
        self.carry_out(&change);
        change
    }

    /// The server's files, and ours.
    pub fn files(&self) -> BTreeMap<PathBuf, Node> {
        self.host.tree("/")
    }

    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.host.peek(place(path)).unwrap()).unwrap()
    }

    pub fn violations(&self) -> Vec<Violation> {
        check(&On(&self.host), &Environment::windows()).unwrap().violations
    }

    /// Which of ours each level has, by its name.
    pub fn effective(&self, level: &str) -> Vec<String> {
        let report = check(&On(&self.host), &Environment::windows()).unwrap();
        let level = report.levels.iter().find(|found| found.path == level).unwrap();
        let effective = &level.effective;
        let inbound = effective.global_rules.iter().chain(&effective.rules).map(|entry| &entry.name);
        inbound.chain(effective.outbound.iter().map(|entry| &entry.name)).cloned().collect()
    }

    /// The actions of a mitigation that an IIS target takes, as a cycle would hand them over.
    pub fn wanted(&self, mitigation: &str) -> Vec<Wanted> {
        let mitigation = Mitigation::from_octets(mitigation).unwrap();
        let roles = roles(&self.host, Path::new(ROOT), &BTreeMap::new());
        let takes = [ActionType::UrlRewrite, ActionType::AppPool];
        let actions = mitigation.actions.iter().filter(|action| takes.contains(&action.kind.action_type()));
        let want = |action: &stopgap_feed::document::Action| Wanted {
            observe: false,
            key: format!("example:{}", mitigation.id).parse().unwrap(),
            digest: sha256_hex(mitigation.octets.as_bytes()),
            action: action.clone(),
            probes: mitigation.probes.clone(),
            sites: action.target.as_ref().map(|role| roles.get(role).cloned().unwrap_or_default()),
        };
        actions.map(want).collect()
    }

    /// One that the project ships.
    pub fn shipped(&self, id: &str) -> Vec<Wanted> {
        let path = format!("{}/../../mitigations/{id}/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
        self.wanted(&std::fs::read_to_string(path).unwrap())
    }

    /// A rule for the whole server.
    pub fn global(&self) -> Vec<Wanted> {
        self.wanted(
            r#"<Config id="G1" desc="g"><ActionList><Action id="G1.1" type="UrlRewrite" scope="Server" desc="jndi">
<rewrite><rules><rule name="&quot;jndi&quot; &amp; co"><match url=".*"/><conditions><add input="{HTTP_USER_AGENT}" pattern="jndi:"/></conditions>
<action type="AbortRequest"/></rule></rules></rewrite></Action></ActionList></Config>"#,
        )
    }
}

pub fn driver() -> Iis {
    Iis::new(Settings {
        name: "iis".into(),
        folder: DATA.into(),
        root: ROOT.into(),
        listeners: vec![],
        probed: vec![],
    })
}

/// The machine's files as a second reader finds them.
struct On<'h>(&'h FakeHost);

impl stopgap_iis::Tree for On<'_> {
    fn read(&self, path: &str) -> Result<Option<std::borrow::Cow<'_, [u8]>>, String> {
        let wanted = place(path).to_string_lossy().to_lowercase();
        let files = self.0.tree(ROOT);
        let found = files.into_iter().find(|(path, _)| path.to_string_lossy().to_lowercase() == wanted);
        Ok(found.and_then(|(_, node)| match node {
            Node::File(octets) => Some(octets.into()),
            _ => None,
        }))
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let wanted = place(path).to_string_lossy().to_lowercase();
        let inside =
            |found: &PathBuf| found.parent().is_some_and(|up| up.to_string_lossy().to_lowercase() == wanted);
        let folders =
            self.0.tree(ROOT).into_iter().filter(|(path, node)| inside(path) && *node == Node::Folder);
        folders.map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }
}

/// As `appcmd` answers; a pool of another name is not known.
fn appcmd(pools: &mut BTreeMap<String, bool>, args: &[String]) -> io::Result<String> {
    let word = |runs: &bool| if *runs { "Started" } else { "Stopped" };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    Ok(match args.as_slice() {
        ["list", "apppool", "/xml"] => {
            let pool = |(name, runs): (&String, &bool)| {
                format!(
                    "<APPPOOL APPPOOL.NAME=\"{name}\" PipelineMode=\"Integrated\" state=\"{}\" />",
                    word(runs)
                )
            };
            format!("<?xml version=\"1.0\"?><appcmd>{}</appcmd>", pools.iter().map(pool).collect::<String>())
        }
        ["list", "apppool", name, "/text:state"] => pools.get(*name).map(word).unwrap_or_default().to_owned(),
        [verb, "apppool", name] => {
            let name = name.strip_prefix("/apppool.name:").unwrap();
            match pools.get_mut(name) {
                None => "ERROR ( message:Cannot find APPPOOL object )".to_owned(),
                Some(runs) => {
                    *runs = *verb == "start";
                    format!("\"{name}\" {verb}ed")
                }
            }
        }
        other => return Err(io::Error::other(format!("appcmd {other:?}"))),
    })
}
