//! `stopgap agent check`: whether this server is ready. A missing hook is an error, an unreachable
//! feed a warning, and so is a service that does not run: `stopgap apply` works without it.

use std::fs;
use std::path::Path;
#[cfg(not(windows))]
use std::process::{Command, Stdio};

use jiff::Timestamp;
use serde::Serialize;
use stopgap_agent::config::{Config, TargetConfig};
use stopgap_agent::fetch::{Fetched, Fetcher};
use stopgap_agent::home::Home;
use stopgap_agent::hub::{Client, Contact, Enrollment};
use stopgap_agent::trust::{self, Standing};
use stopgap_agent::{facts, targets};
use stopgap_core::observed::Hook;
use stopgap_drivers::Machine;

use super::super::local;
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warning,
    Error,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    what: String,
    detail: String,
}

/// This build was made after that day: an earlier clock is wrong.
const NO_EARLIER: &str = "2026-11-01T00:00:00Z";

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let mut findings = vec![finding(Level::Ok, "configuration", config.path.display())];
    findings.push(clock());
    findings.push(data(&config));
    findings.extend(writable(&config));
    findings.extend(service());
    findings.extend(beside_us(&config));
    findings.extend(microsofts());
    findings.push(hub(&config)?);
    findings.extend(told(&config));
    findings.extend(feeds(&config)?);
    findings.extend(targets_of(&config)?);
    let wanting = findings.iter().any(|finding| finding.level == Level::Error);
    if args.json {
        output::json(&serde_json::json!({ "ready": !wanting, "checks": findings }))?;
    } else {
        let rows = findings.into_iter().map(|finding| {
            let level = match finding.level {
                Level::Ok => "ok",
                Level::Warning => "warning",
                Level::Error => "ERROR",
            };
            vec![level.to_owned(), finding.what, finding.detail]
        });
        output::line(output::table(&["", "CHECK", "DETAIL"], rows))?;
    }
    Ok(if wanting { Code::Wanting } else { Code::Done })
}

fn finding(level: Level, what: impl ToString, detail: impl ToString) -> Finding {
    Finding { level, what: what.to_string(), detail: detail.to_string() }
}

fn clock() -> Finding {
    let now = Timestamp::now();
    let wrong = NO_EARLIER.parse::<Timestamp>().is_ok_and(|earliest| now < earliest);
    let level = if wrong { Level::Error } else { Level::Ok };
    finding(
        level,
        "clock",
        format_args!("{now}{}", if wrong { ": set it; nothing can be judged fresh" } else { "" }),
    )
}

/// Who is told of what happens here.
fn told(config: &Config) -> Option<Finding> {
    match stopgap_agent::tell::receivers(config) {
        Ok(receivers) if receivers.is_empty() => None,
        Ok(receivers) => {
            let names: Vec<String> = receivers.all().map(|receiver| receiver.name()).collect();
            Some(finding(Level::Ok, "notifications", names.join(", ")))
        }
        Err(error) => Some(finding(Level::Error, "notifications", error)),
    }
}

fn data(config: &Config) -> Finding {
    let tried = Home::open(&Machine, &config.data).and_then(|home| home.lock().map(drop));
    match tried {
        Ok(()) => finding(Level::Ok, "data folder", config.data.display()),
        Err(error) => finding(Level::Error, "data folder", error),
    }
}

/// The folders that are written beside the data folder.
fn writable(config: &Config) -> Vec<Finding> {
    let metrics = config.metrics.as_deref().and_then(Path::parent);
    let folders = [Some(("log folder", config.logs.as_path())), metrics.map(|folder| ("metrics", folder))];
    let mut findings = Vec::new();
    for (what, folder) in folders.into_iter().flatten() {
        // The service makes its log folder, and nobody else's.
        let made = if what == "metrics" { Ok(()) } else { fs::create_dir_all(folder) };
        findings.push(match made.and_then(|()| try_to_write(folder)) {
            Ok(()) => finding(Level::Ok, what, folder.display()),
            Err(error) => {
                finding(Level::Error, what, format_args!("cannot write in {}: {error}", folder.display()))
            }
        });
    }
    findings
}

fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let path = folder.join(format!(".stopgap-check-{}", std::process::id()));
    fs::File::create_new(&path)?;
    fs::remove_file(&path)
}

/// Whether the service control manager runs the service.
#[cfg(windows)]
fn service() -> Option<Finding> {
    use stopgap_drivers::host::services::{Start, State};
    let name = stopgap_agent::windows::SERVICE;
    Some(match one_service(name) {
        Err(error) => finding(Level::Warning, "service", format_args!("cannot be looked at: {error}")),
        Ok(None) => finding(
            Level::Warning,
            "service",
            format_args!(
                "{name} is not installed, so that nobody looks after this server: `stopgap agent install`"
            ),
        ),
        Ok(Some(it)) if it.state == State::Running && it.start != Start::Disabled => {
            finding(Level::Ok, "service", format_args!("{name} runs; its start is {}", it.start))
        }
        Ok(Some(it)) => finding(
            Level::Warning,
            "service",
            format_args!(
                "{name} is {}, its start {}: nobody looks after this server. `stopgap agent install`",
                it.state, it.start
            ),
        ),
    })
}

#[cfg(windows)]
fn one_service(name: &str) -> std::io::Result<Option<stopgap_drivers::host::services::Service>> {
    use stopgap_drivers::Host;
    use stopgap_drivers::host::services::Ask;
    Ok(Machine.services(&Ask::Show(&[name.to_owned()]), std::time::Duration::from_secs(30))?.pop())
}

/// Microsoft's own service: what it has put into IIS is in force by it, and nobody's here to change.
#[cfg(windows)]
fn microsofts() -> Option<Finding> {
    let it = one_service("MSExchangeMitigation").ok()??;
    let detail = format!(
        "{} (MSExchangeMitigation) is {}, its start {}: rules named `EEMS` are its own, in force by it, and left alone",
        it.display, it.state, it.start
    );
    Some(finding(Level::Ok, "beside us", detail))
}

#[cfg(not(windows))]
fn microsofts() -> Option<Finding> {
    None
}

/// Whether systemd, where it runs, runs the service.
#[cfg(not(windows))]
fn service() -> Option<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        return None;
    }
    let is = |word: &str| {
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["--quiet", word, "stopgap.service"]).stdin(Stdio::null()).stderr(Stdio::null());
        systemctl.status().is_ok_and(|status| status.success())
    };
    Some(match (is("is-active"), is("is-enabled")) {
        (true, true) => finding(Level::Ok, "service", "stopgap.service runs, and starts with the machine"),
        (true, false) => finding(
            Level::Warning,
            "service",
            "stopgap.service runs and is not enabled: `systemctl enable stopgap`",
        ),
        (false, _) => finding(
            Level::Warning,
            "service",
            "stopgap.service does not run, so that nobody looks after this server: `systemctl start stopgap`",
        ),
    })
}

/// Programs that put rules or bans of their own into the same servers: none is an obstacle, each is a second
/// place to look when a request is refused.
const OTHERS: [(&str, &str); 4] = [
    ("CrowdSec", "/etc/crowdsec"),
    ("fail2ban", "/etc/fail2ban"),
    ("ModSecurity", "/etc/modsecurity"),
    ("Microsoft's Exchange Emergency Mitigation service", EXCHANGE),
];
/// Where Exchange is by default, on the drive C: that a target's `root` is laid out as.
const EXCHANGE: &str = "/Program Files/Microsoft/Exchange Server/V15";

fn beside_us(config: &Config) -> Vec<Finding> {
    let roots: std::collections::BTreeSet<&Path> =
        config.targets.iter().map(|target| target.root.as_path()).chain([Path::new("/")]).collect();
    let mut findings = Vec::new();
    for (name, place) in OTHERS {
        let places = roots.iter().map(|root| root.join(place.trim_start_matches('/')));
        if let Some(place) = places.into_iter().find(|place| place.is_dir()) {
            let detail = format!("{name} may refuse requests here, too: {}", place.display());
            findings.push(finding(Level::Warning, "beside us", detail));
        }
    }
    findings
}

/// Asked in this server's name: who may not read the enrollment is told what the service found.
fn hub(config: &Config) -> anyhow::Result<Finding> {
    let home = Home::at(&config.data);
    if !Enrollment::is_there(&home, &Machine) {
        return Ok(finding(Level::Ok, "hub", "not enrolled: this server decides alone"));
    }
    let since = Contact::load(&home, &Machine).ok().flatten().and_then(|contact| contact.silent_since);
    let since = since.map(|since| format!(", silent since {since:.0}")).unwrap_or_default();
    let asked = match Enrollment::load(&home, &Machine) {
        Ok(Some(enrollment)) => {
            let asked = async { Client::new(&enrollment, &config.network)?.settings(None).await };
            system::runtime()?.block_on(asked).map(|_| enrollment.hub).map_err(anyhow::Error::new)
        }
        Ok(None) => Err(anyhow::anyhow!("this server has just left")),
        Err(error) => Err(anyhow::Error::new(error)),
    };
    Ok(match asked {
        Ok(hub) => finding(Level::Ok, "hub", hub),
        Err(error) => {
            let detail = format!("{error:#}{since}; what it said last goes on counting");
            finding(Level::Warning, "hub", detail)
        }
    })
}

fn feeds(config: &Config) -> anyhow::Result<Vec<Finding>> {
    if config.feeds.is_empty() {
        return Ok(vec![finding(
            Level::Error,
            "feeds",
            "no [[feed]] is configured: nothing can ever be applied",
        )]);
    }
    let fetcher = Fetcher::new(&config.network)?;
    let runtime = system::runtime()?;
    let mut findings = Vec::new();
    for feed in &config.feeds {
        let what = format!("feed {}", feed.name);
        let trust = match trust::load_trust(&Machine, feed) {
            Ok(trust) => trust,
            Err(message) => {
                findings.push(finding(Level::Error, format_args!("{what} trust"), message));
                continue;
            }
        };
        findings.push(finding(Level::Ok, format_args!("{what} trust"), feed.trust.display()));
        let standing = Standing::new(trust);
        let delivery = runtime.block_on(fetcher.fetch(feed, &standing, Timestamp::now()));
        findings.push(match delivery.fetched {
            Fetched::Failed(failure) => finding(Level::Warning, what, failure),
            _ => finding(Level::Ok, what, &feed.url),
        });
    }
    Ok(findings)
}

/// What is known of the group that a target fronts.
fn fronted(config: &Config, target: &TargetConfig) -> Option<Finding> {
    let (name, group) = targets::fronted(config, target)?;
    let what = format!("target {}, group {name}", target.name());
    if let Some(why) = group.unknown {
        return Some(finding(Level::Warning, what, why));
    }
    let doubt = group.products.iter().find_map(|(product, found)| Some((product, found.unknown.as_ref()?)));
    let level = if doubt.is_some() { Level::Warning } else { Level::Ok };
    let products = group.products.iter().map(|(product, found)| {
        let versions = found.versions.iter().map(|one| format!("{} ({})", one.version, one.server));
        let words: Vec<String> = versions.chain(found.unknown.clone()).collect();
        format!("{product} {}", words.join(", "))
    });
    let products: Vec<String> = products.collect();
    let none = products.is_empty().then(|| "its members report no product".to_owned());
    Some(finding(level, what, none.unwrap_or_else(|| products.join("; "))))
}

fn targets_of(config: &Config) -> anyhow::Result<Vec<Finding>> {
    let facts = facts::facts(config);
    let mut findings = Vec::new();
    for target in targets::targets(config, &facts)? {
        let what = format!("target {}", target.driver.target());
        let observed = match target.driver.observe(&Machine) {
            Ok(observed) => observed,
            Err(error) => {
                findings.push(finding(Level::Error, what, format_args!("{:#}", anyhow::Error::new(error))));
                continue;
            }
        };
        for site in &observed.sites {
            let what = format!("{what}, site {}", site.name);
            findings.push(match &site.hook {
                Hook::Present => finding(Level::Ok, what, "reads our rules"),
                Hook::Missing(missing) => finding(Level::Error, what, missing),
            });
        }
        let warnings = observed.warnings.iter().chain(observed.lacks.values());
        findings.extend(warnings.map(|warning| finding(Level::Warning, &what, warning)));
    }
    for target in &config.targets {
        findings.extend(fronted(config, target));
    }
    if config.targets.is_empty() {
        findings.push(finding(
            Level::Error,
            "targets",
            "no [[target]] is configured: rules have nowhere to go",
        ));
    }
    Ok(findings)
}
