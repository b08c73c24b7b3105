//! What people ask of a hub with the whole fleet: its pages and lists.

use std::time::Instant;

use anyhow::{Result, bail};

use super::super::cpu::{median, of_running};
use super::super::report;
use super::agents::first_answer;
use super::hub::Hub;

const PATHS: [(&str, &str); 6] = [
    ("overview", "/"),
    ("servers", "/servers"),
    ("mitigations", "/mitigations"),
    ("first page of `GET /v1/servers`", "/v1/servers"),
    ("first page of `GET /v1/mitigations`", "/v1/mitigations"),
    ("`/metrics`", "/metrics"),
];
/// How often each is asked for, one after another.
const TIMES: usize = 5;

/// The table.
pub fn lists(hub: &Hub, token: &str) -> Result<String> {
    let head = ["page or list", "answered in", "at most", "CPU time of the hub", "octets"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for (name, path) in PATHS {
        let (mut took, mut octets) = (Vec::new(), 0);
        let before = of_running(hub.server().pid())?;
        for _ in 0..TIMES {
            let began = Instant::now();
            let said = first_answer(hub.address(), path, &bearer)?;
            took.push(began.elapsed().as_secs_f64() * 1e3);
            octets = said.len();
            if !said.starts_with("HTTP/1.1 200") {
                bail!("{path} is answered {:?}", said.lines().next());
            }
        }
        let spent = of_running(hub.server().pid())?.saturating_sub(before).as_secs_f64() * 1e3;
        let most = took.iter().copied().fold(0.0, f64::max);
        rows.push(vec![
            name.to_owned(),
            format!("{:.0} ms", median(&took)),
            format!("{most:.0} ms"),
            format!("{:.0} ms", spent / TIMES as f64),
            octets.to_string(),
        ]);
        eprintln!("{:?}", rows.last());
    }
    Ok(format!(
        "{}\nWith all servers, each with twenty mitigations; the middle and the slowest of {TIMES}.\n",
        report::table(&rows)
    ))
}
