//! Whether the hub does what `/v1/openapi.json` says, tried by schemathesis: requests that the description allows and
//! requests that it does not, for each role. No answer is a 5xx, each has a status, a type and a form that the
//! description names, and nothing is told to who sends no token.
//!
//! The packages are those of `e2e/openapi/requirements.txt`, by their hashes, in an environment of their own below
//! the target folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use stopgap_hub::people::Role;

use crate::common::{Hub, Store, fleet};

/// What is tried of each operation: everything that the description names at its bounds, examples at random, and
/// operations one after another.
const WHOLE: &[&str] = &["--phases", "coverage,fuzzing,stateful", "--max-examples", "6"];
/// Examples at random.
const SHORT: &[&str] = &["--phases", "fuzzing", "--max-examples", "4"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_does_what_its_description_says() {
    let test = "the_hub_does_what_its_description_says";
    let Some(program) = program(test) else { return };
    let hub = Hub::start(Store::Sqlite, test).await.unwrap();
    filled(&hub).await;
    let administrator = hub.token_named(Role::Administrator, "who looks on").await;
    // Who changes nothing goes first, so that what was not changed can be seen.
    for role in [Role::Viewer, Role::Auditor] {
        let before = hub.get("/v1/audit?limit=1", &administrator).await.1;
        tried(&program, &hub, role, SHORT).await;
        let after = hub.get("/v1/audit?limit=1", &administrator).await.1;
        assert_eq!(before, after, "{role} changed something");
    }
    tried(&program, &hub, Role::Operator, SHORT).await;
    tried(&program, &hub, Role::Administrator, WHOLE).await;
    let (status, verified) = hub.get("/v1/audit/verify", &administrator).await;
    assert_eq!((status, &verified["fault"]), (200, &json!(null)), "{verified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hub_does_what_its_description_says_on_postgresql() {
    let test = "the_hub_does_what_its_description_says_on_postgresql";
    let Some(program) = program(test) else { return };
    let Some(hub) = Hub::start(Store::Postgres, test).await else { return };
    filled(&hub).await;
    tried(&program, &hub, Role::Administrator, SHORT).await;
}

/// A fleet, and one of each other kind of thing, so that what is asked for is there now and then.
async fn filled(hub: &Hub) {
    fleet::fill(hub).await;
    let token = hub.token_named(Role::Administrator, "a script").await;
    let block = json!({"mitigations_blocked": [{"feed": "example", "id": "M4", "reason": "why"}]});
    assert_eq!(hub.set("/v1/organization/settings", &token, block).await.0, 200);
    let ask = json!({"mitigation": "example:M2", "level": "group", "name": "web"});
    assert_eq!(hub.json("POST", "/v1/approvals", &token, ask).await.0, 201);
    let enrollment = json!({"uses": 1, "hours": 1});
    assert_eq!(hub.json("POST", "/v1/enrollments", &token, enrollment).await.0, 201);
}

async fn tried(program: &Path, hub: &Hub, role: Role, extent: &[&str]) {
    let token = hub.token_named(role, &format!("the trying {role}")).await;
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/openapi/schemathesis.toml"))
        .args(["run", "--no-color", "--continue-on-failure"])
        .args(extent)
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("{}/v1/openapi.json", hub.url))
        .env("NO_PROXY", "*")
        .stdin(Stdio::null())
        .current_dir(hub.data());
    let done = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    println!("as {role}\n{told}");
    assert!(done.status.success(), "as {role}\n{told}");
}

/// The program, installed once for each list of packages; `None`: this machine cannot, which was said.
fn program(test: &str) -> Option<PathBuf> {
    // Two tests want it, and one installs it.
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let venv = Command::new("python3").args(["-c", "import venv, ensurepip"]).stderr(Stdio::null()).status();
    if !venv.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 or its venv is missing: Debian's python3-venv");
        println!("skipped (no python3-venv): {test}");
        return None;
    }
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/openapi/requirements.txt");
    let wanted = std::fs::read(wanted).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("openapi");
    let (kept, program) = (folder.join("requirements.txt"), folder.join("bin/st"));
    if std::fs::read(&kept).ok().as_ref() == Some(&wanted) && program.exists() {
        return Some(program);
    }
    let ran = |command: &mut Command| {
        let done = command.output().unwrap();
        assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
    let list = folder.join("wanted.txt");
    std::fs::write(&list, &wanted).unwrap();
    ran(Command::new(folder.join("bin/pip"))
        .args([
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--only-binary",
            ":all:",
        ])
        .arg("--requirement")
        .arg(&list));
    // Last, since it says that all is there.
    std::fs::rename(&list, &kept).unwrap();
    Some(program)
}
