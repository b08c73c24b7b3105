//! What the demonstration says at the end. The JSON is API.

use serde::Serialize;

/// `demo --once --json`.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    /// Every step, in order.
    pub steps: Vec<Step>,
    /// From the rename of the feed file to the first refusal that a client outside the agent's
    /// process saw.
    pub publish_to_in_force_ms: Option<u64>,
    /// Every step did what it should.
    pub ok: bool,
}

/// One step.
#[derive(Debug, Serialize)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// Whether it did what it should.
    pub ok: bool,
    /// How long it took.
    pub ms: u64,
}

/// The last lines for people.
pub fn words(summary: &Summary) -> String {
    let good = summary.steps.iter().filter(|step| step.ok).count();
    let time = match summary.publish_to_in_force_ms {
        Some(ms) => format!("published to in force: {ms} ms"),
        None => "the mitigation never came into force".to_owned(),
    };
    format!("\n{good} of {} steps did what they should; {time}.", summary.steps.len())
}
