//! The story: step by step, each of which either does what it should or ends the demonstration.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use stopgap_drivers::{Host, Machine};
use stopgap_publish::serve::{Server, Settings};
use stopgap_publish::{builtin, folder, release};
use tokio::time::sleep;

use super::client::{Seen, ask};
#[cfg(feature = "hub")]
use super::organization::Organization;
use super::site;
use super::stage::{Stage, path};
use super::summary::{Step, Summary};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/&Email=autodiscover/autodiscover.json%3f@evil.example";
const DISGUISED: &str = "/autodiscover/autodiscover.json?x/p%6Fwershell/";
const COOKIE: &str = "X-AnonResource=true; X-AnonResource-Backend=localhost/ecp/default.flt?~3";
const LEGITIMATE: &str = "/autodiscover/autodiscover.xml";

/// A vulnerable build, and one with the fixes.
const VULNERABLE: &str = "15.2.721.2";
const FIXED: &str = "15.2.1118.20";

/// How long anything may take; far more than it does.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays the whole story; it ends at the first step that does not do what it should.
pub async fn play(stage: &mut Stage) -> Summary {
    let mut summary = Summary::default();
    let told = tell(stage, &mut summary).await;
    if let Err(error) = &told {
        stage.say(format_args!("    FAILED: {error:#}"));
    }
    summary.ok = told.is_ok() && summary.steps.iter().all(|step| step.ok);
    summary
}

/// One step: says what happens, does it, and notes how it went.
macro_rules! step {
    ($stage:expr, $summary:expr, $name:literal, $says:literal, $does:expr) => {{
        $stage.say(format_args!("{:>2}. {}", $summary.steps.len() + 1, $says));
        let start = Instant::now();
        let result: Result<_> = async { $does }.await;
        let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        $summary.steps.push(Step { name: $name, ok: result.is_ok(), ms });
        result.context($name)?
    }};
}

async fn tell(stage: &mut Stage, summary: &mut Summary) -> Result<()> {
    step!(stage, summary, "publisher", "A publisher makes keys and certificates, and a feed with PING1.", {
        let feed = stage.path("publisher");
        folder::init(&feed, &"demo".parse()?, Some("Stopgap demo"), None, Timestamp::now())?;
        add(stage, "PING1")?;
        std::fs::create_dir_all(stage.path("www"))?;
        release_to_web(stage).map(drop)
    });
    let feed_server = step!(stage, summary, "feed", "The feed is served, with an event stream beside it.", {
        let server = Server::bind(Settings::new(stage.path("www/feed.xml"), loopback())).await?;
        let address = server.local_addr();
        stage.serve(server);
        Ok(address)
    });
    let gateway = step!(stage, summary, "gateway", "A sample site starts, and a gateway in front of it.", {
        let site = site::start(stage.site_log.clone()).await?;
        let gateway = stage.spawn_gateway(site).await?;
        expect(gateway, LEGITIMATE, None, Seen::Status(200)).await?;
        Ok(gateway)
    });
    configure(stage, feed_server, gateway)?;
    #[cfg(feature = "hub")]
    step!(stage, summary, "hub", "An organization's hub starts, and the server joins it.", {
        let hub = Organization::start(stage).await?;
        hub.enroll(stage).await?;
        stage.hub = Some(hub);
        Ok(())
    });
    step!(stage, summary, "agent", "An agent starts, verifies the feed and reports PING1.", {
        stage.spawn_agent()?;
        status_becomes(stage, "PING1", "Applied").await
    });
    step!(stage, summary, "attack-reaches-the-site", "The attack reaches the site.", {
        stage.site_log.clear();
        expect(gateway, ATTACK, None, Seen::Status(200)).await?;
        expect(gateway, "/owa/auth/x.js", Some(COOKIE), Seen::Status(200)).await?;
        ensure!(stage.site_log.count("evil.example") == 1, "the site did not see the attack");
        Ok(())
    });
    let in_force =
        step!(stage, summary, "publish", "The publisher proves, signs and releases M1 and PL1.", {
            add(stage, "M1")?;
            add(stage, "PL1")?;
            let released = release_to_web(stage)?;
            first_refusal(gateway, released).await
        });
    summary.publish_to_in_force_ms = u64::try_from(in_force.as_millis()).ok();
    stage.say(format_args!("    in force {} ms after the feed file was renamed", in_force.as_millis()));
    step!(
        stage,
        summary,
        "attack-is-refused",
        "The attack is refused, disguised or not, and the site never sees it.",
        {
            status_becomes(stage, "PL1", "Applied").await?;
            stage.site_log.clear();
            for target in [ATTACK, DISGUISED] {
                expect(gateway, target, None, Seen::Closed).await?;
            }
            expect(gateway, "/owa/auth/x.js", Some(COOKIE), Seen::Closed).await?;
            ensure!(stage.site_log.clear() == 0, "something reached the site");
            Ok(())
        }
    );
    step!(stage, summary, "legitimate-passes", "The legitimate request passes.", {
        expect(gateway, LEGITIMATE, None, Seen::Status(200)).await?;
        expect(gateway, "/powershell", None, Seen::Status(200)).await
    });
    step!(stage, summary, "proven", "The agent's own probes have proven it.", {
        status_becomes(stage, "M1", "Applied").await
    });
    step!(stage, summary, "repair", "Somebody deletes the rules by hand; they come back.", {
        std::fs::remove_file(stage.path("data/gateway/live")).context("cannot delete the live rules")?;
        comes_true("the rules are not back", || async { stage.path("data/gateway/live").exists() }).await?;
        expect(gateway, ATTACK, None, Seen::Closed).await
    });
    step!(stage, summary, "revert", "The operator blocks and reverts M1; PL1 stays in force.", {
        stage.operator(&["block", "M1", "--reason", "a demonstration"]).await?;
        expect(gateway, ATTACK, None, Seen::Closed).await.context("a block alone took it off")?;
        stage.operator(&["revert", "M1", "--reason", "a demonstration"]).await?;
        expect(gateway, ATTACK, None, Seen::Status(200)).await?;
        expect(gateway, "/owa/auth/x.js", Some(COOKIE), Seen::Closed).await
    });
    step!(stage, summary, "unblock", "The operator takes the block back; M1 is in force again.", {
        stage.operator(&["unblock", "M1"]).await?;
        expect(gateway, ATTACK, None, Seen::Closed).await
    });
    #[cfg(feature = "hub")]
    step!(
        stage,
        summary,
        "organization",
        "The organization takes PL1 off on every server, and lets it go on.",
        {
            let hub = stage.hub.as_ref().context("there is no hub")?;
            let through = || async { ask(gateway, "/owa/auth/x.js", Some(COOKIE)).await };
            let reason = ["--reason", "a demonstration"];
            let block = [&["--mitigations-blocked", "+PL1", "--revert"], &reason[..]].concat();
            hub.say(stage, &block).await?;
            comes_true("PL1 is not off", || async { through().await == Seen::Status(200) }).await?;
            hub.say(stage, &[&["--mitigations-blocked", "-PL1"], &reason[..]].concat()).await?;
            comes_true("PL1 is not back", || async { through().await == Seen::Closed }).await
        }
    );
    step!(stage, summary, "leave", "The fixed build is installed; the mitigations leave by themselves.", {
        set_build(stage, FIXED)?;
        let gone = || async { ask(gateway, ATTACK, None).await == Seen::Status(200) };
        comes_true("M1 did not leave", gone).await?;
        status_becomes(stage, "M1", "NotApplicable").await?;
        expect(gateway, "/owa/auth/x.js", Some(COOKIE), Seen::Status(200)).await
    });
    Ok(())
}

fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn add(stage: &Stage, id: &str) -> Result<()> {
    let builtin = builtin::find(id).with_context(|| format!("{id} is not in this program"))?;
    folder::add(&stage.path("publisher"), builtin)?;
    Ok(())
}

/// Releases the feed, and puts it where it is served by a rename; returns when that was.
fn release_to_web(stage: &Stage) -> Result<Instant> {
    let published = release::publish(&stage.path("publisher"), Timestamp::now())?;
    let uploaded = stage.path("www/feed.xml.new");
    std::fs::copy(published.path, &uploaded)?;
    let released = Instant::now();
    Machine.rename(&uploaded, &stage.path("www/feed.xml"))?;
    Ok(released)
}

fn configure(stage: &Stage, feed: SocketAddr, gateway: SocketAddr) -> Result<()> {
    std::fs::create_dir_all(stage.path("etc/facts.d"))?;
    set_build(stage, VULNERABLE)?;
    let (data, logs, trust) = (stage.path("data"), stage.path("logs"), stage.path("publisher/trust.toml"));
    let text = format!(
        "data = {:?}
logs = {:?}
server = \"Server1\"
soak = \"0s\"                 # a real server waits 30 minutes before a mitigation leaves

[[feed]]
name = \"demo\"
url = \"http://{feed}/feed.xml\"
trust = {:?}

[[target]]
kind = \"gateway\"
sites = {{ \"Default Web Site\" = [\"mail.example.org\"] }}
listeners = [\"http://{gateway}\"]
",
        path(&data)?,
        path(&logs)?,
        path(&trust)?,
    );
    std::fs::write(stage.config(), text)?;
    Ok(())
}

fn set_build(stage: &Stage, build: &str) -> Result<()> {
    let file = stage.path("etc/facts.d/exchange.toml");
    Ok(std::fs::write(file, format!("exchange = \"{build}\"\n"))?)
}

async fn expect(gateway: SocketAddr, target: &str, cookie: Option<&str>, expected: Seen) -> Result<()> {
    let seen = ask(gateway, target, cookie).await;
    ensure!(seen == expected, "{target}: expected {expected:?}, saw {seen:?}");
    Ok(())
}

/// Sends the attack again and again until it is refused.
async fn first_refusal(gateway: SocketAddr, released: Instant) -> Result<Duration> {
    while released.elapsed() < PATIENCE {
        match ask(gateway, ATTACK, None).await {
            Seen::Closed => return Ok(released.elapsed()),
            Seen::Status(_) => sleep(Duration::from_millis(1)).await,
            Seen::Nothing => anyhow::bail!("the gateway does not answer"),
        }
    }
    anyhow::bail!("the attack still passes after {} s", PATIENCE.as_secs())
}

async fn comes_true<F: Future<Output = bool>>(otherwise: &str, is_so: impl Fn() -> F) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if is_so().await {
            return Ok(());
        }
        sleep(Duration::from_millis(5)).await;
    }
    anyhow::bail!("{otherwise} after {} s", PATIENCE.as_secs())
}

/// Asks `stopgap status` until a mitigation has that status.
async fn status_becomes(stage: &Stage, id: &str, expected: &str) -> Result<()> {
    let is_so = || async {
        let Ok(text) = stage.operator(&["status", "--json"]).await else { return false };
        let Ok(report) = serde_json::from_str::<serde_json::Value>(&text) else { return false };
        let of = |m: &&serde_json::Value| m.get("id").is_some_and(|found| found == id);
        let mitigations = report.get("mitigations").and_then(|m| m.as_array());
        mitigations
            .into_iter()
            .flatten()
            .find(of)
            .and_then(|m| m.get("status"))
            .is_some_and(|s| s == expected)
    };
    comes_true(&format!("{id} is not {expected}"), is_so).await
}
