//! Charts, as SVG whose colors and strokes come from the style sheet. Each has its numbers in a table beside it, and
//! its words in a label; what is told by color is also told by a pattern (the `<defs>` of the layout).

use std::fmt;

use askama::filters::HtmlSafe;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::marks::{Kind, escape};

/// One bar, cut into how many servers are of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bar(pub(super) Vec<(Kind, u64)>);

const BAR_WIDTH: u64 = 180;
/// A part with one server among thousands is still to be seen.
const LEAST: u64 = 3;

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<(Kind, u64)> = self.0.iter().copied().filter(|(_, count)| *count > 0).collect();
        let words: Vec<String> =
            parts.iter().map(|(kind, count)| format!("{count} {}", kind.words())).collect();
        let label = if words.is_empty() { "no server".to_owned() } else { words.join(", ") };
        write!(f, r#"<svg class="bar" viewBox="0 0 {BAR_WIDTH} 12" role="img" aria-label="{label}">"#)?;
        let mut x = 0;
        for ((kind, _), width) in parts.iter().zip(widths(&parts)) {
            let (class, fill) = (kind.class(), fill(*kind));
            write!(
                f,
                r#"<rect class="{class}"{fill} x="{x}" y="0" width="{}" height="12"/>"#,
                width.saturating_sub(1)
            )?;
            x += width;
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Bar {}

fn widths(parts: &[(Kind, u64)]) -> Vec<u64> {
    let total: u64 = parts.iter().map(|(_, count)| count).sum();
    let mut widths: Vec<u64> =
        parts.iter().map(|(_, count)| (count * BAR_WIDTH / total.max(1)).max(LEAST)).collect();
    let sum: u64 = widths.iter().sum();
    // What the smallest ones were given, and what rounding left, is the largest one's.
    if let Some(largest) = widths.iter_mut().max() {
        *largest = (*largest + BAR_WIDTH).saturating_sub(sum);
    }
    widths
}

/// Kinds that are told apart by a pattern too.
fn fill(kind: Kind) -> &'static str {
    match kind {
        Kind::Partly => r##" fill="url(#p-partly)""##,
        Kind::Bad => r##" fill="url(#p-bad)""##,
        Kind::Waiting => r##" fill="url(#p-waiting)""##,
        Kind::Good | Kind::Held | Kind::Idle => "",
    }
}

/// One mitigation's way through time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lane {
    pub(super) name: String,
    /// Since when servers were known to need it.
    pub(super) exposed: Option<Timestamp>,
    /// The first server where it came into force.
    pub(super) first: Option<Timestamp>,
    /// The last one; `None`: some still need it.
    pub(super) complete: Option<Timestamp>,
    /// When the last server was without it again.
    pub(super) ended: Option<Timestamp>,
}

/// Lanes, one below the other, on one axis of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lanes {
    pub(super) lanes: Vec<Lane>,
    pub(super) now: Timestamp,
}

const LANES_WIDTH: i64 = 1200;
const NAMES: i64 = 150;
const LANE: i64 = 26;

impl Lanes {
    /// Whether there is anything to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.exposed.is_none() && lane.first.is_none())
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begins = self.lanes.iter().flat_map(|lane| [lane.exposed, lane.first]).flatten().min();
        let begins = begins.unwrap_or(self.now).min(self.now - SignedDuration::from_mins(10));
        let axis = Axis { from: begins, until: self.now, left: NAMES, width: LANES_WIDTH - NAMES - 10 };
        let height = LANE * i64::try_from(self.lanes.len()).unwrap_or(0) + 24;
        write!(
            f,
            r#"<svg class="lanes" viewBox="0 0 {LANES_WIDTH} {height}" role="img" aria-label="When each mitigation was needed, in force and fixed; the table below has the times">"#
        )?;
        axis.draw(f, height - 20)?;
        for (n, lane) in (0_i64..).zip(&self.lanes) {
            let y = n * LANE + 4;
            write!(
                f,
                r#"<text class="name" x="{}" y="{}" text-anchor="end">{}</text>"#,
                NAMES - 10,
                y + 13,
                escape(&shortened(&lane.name, 20))
            )?;
            let end = lane.ended.unwrap_or(self.now);
            if let Some(exposed) = lane.exposed {
                axis.piece(f, "exposed", r##" fill="url(#p-bad)""##, exposed, lane.first.unwrap_or(end), y)?;
            }
            if let Some(first) = lane.first {
                let complete = lane.complete.unwrap_or(end).clamp(first, end.max(first));
                axis.piece(f, "coming", r##" fill="url(#p-partly)""##, first, complete, y)?;
                axis.piece(f, "on", "", complete, end, y)?;
            }
            if let (Some(ended), Some(_)) = (lane.ended, lane.first) {
                let x = axis.at(ended);
                write!(f, r#"<path class="fixed" d="M{x} {}v20m-4-20h8m-8 20h8"/>"#, y - 1)?;
            }
        }
        f.write_str("</svg>")
    }
}

impl HtmlSafe for Lanes {}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most - 1).collect();
    short.push('…');
    short
}

struct Axis {
    from: Timestamp,
    until: Timestamp,
    left: i64,
    width: i64,
}

/// Steps of an axis: the smallest that gives at most six is taken.
const STEPS: [i64; 14] = [5, 10, 15, 30, 60, 120, 360, 720, 1440, 2880, 10_080, 20_160, 43_200, 129_600];

impl Axis {
    fn at(&self, moment: Timestamp) -> i64 {
        let whole = self.until.duration_since(self.from).as_secs().max(1);
        let part = moment.duration_since(self.from).as_secs().clamp(0, whole);
        self.left + part * self.width / whole
    }

    fn piece(
        &self,
        f: &mut fmt::Formatter<'_>,
        class: &str,
        fill: &str,
        from: Timestamp,
        until: Timestamp,
        y: i64,
    ) -> fmt::Result {
        if until <= from {
            return Ok(());
        }
        let (x, end) = (self.at(from), self.at(until));
        write!(f, r#"<rect class="{class}"{fill} x="{x}" y="{y}" width="{}" height="18"/>"#, (end - x).max(2))
    }

    fn draw(&self, f: &mut fmt::Formatter<'_>, bottom: i64) -> fmt::Result {
        let minutes = self.until.duration_since(self.from).as_mins().max(1);
        let step = STEPS.into_iter().find(|step| minutes / step <= 6).unwrap_or(525_600);
        let first = (self.from.as_second() / 60 / step + 1) * step;
        let format = if step >= 1440 { "%Y-%m-%d" } else { "%m-%d %H:%M" };
        for n in 0..8 {
            let minute = first + n * step;
            let Ok(moment) = Timestamp::from_second(minute * 60) else { break };
            if moment > self.until {
                break;
            }
            let x = self.at(moment);
            // A label that would leave the picture is left away; its line stays.
            let label = moment.to_zoned(TimeZone::UTC).strftime(format).to_string();
            write!(f, r#"<path class="tick" d="M{x} 0V{bottom}"/>"#)?;
            if x + 40 < self.left + self.width + 10 {
                write!(
                    f,
                    r#"<text class="tick" x="{x}" y="{}" text-anchor="middle">{label}</text>"#,
                    bottom + 15
                )?;
            }
        }
        Ok(())
    }
}

/// How many servers had a mitigation in force, over time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    /// From then until then, or still.
    pub(super) spans: Vec<(Timestamp, Option<Timestamp>)>,
    pub(super) from: Timestamp,
    pub(super) now: Timestamp,
    /// Servers that know of it.
    pub(super) of: u64,
}

const SAMPLES: i64 = 180;

impl Steps {
    fn heights(&self) -> Vec<u64> {
        let whole = self.now.duration_since(self.from).as_secs().max(1);
        let mut changes = vec![0_i64; usize::try_from(SAMPLES + 1).unwrap_or(0)];
        let mut note = |moment: Timestamp, by: i64| {
            // The first sample that is not before the moment.
            let seconds = moment.duration_since(self.from).as_secs().max(0);
            let sample = (seconds * SAMPLES + whole - 1) / whole;
            if let Some(change) = usize::try_from(sample).ok().and_then(|sample| changes.get_mut(sample)) {
                *change += by;
            }
        };
        for (from, until) in &self.spans {
            note(*from, 1);
            if let Some(until) = until {
                note(*until, -1);
            }
        }
        changes
            .into_iter()
            .scan(0_i64, |sum, change| {
                *sum += change;
                Some(u64::try_from(*sum).unwrap_or(0))
            })
            .collect()
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEIGHT: i64 = 96;
        let axis = Axis { from: self.from, until: self.now, left: 34, width: LANES_WIDTH - 44 };
        let heights = self.heights();
        let most = heights.iter().copied().max().unwrap_or(0).max(self.of).max(1);
        let y = |count: u64| HEIGHT - 4 - i64::try_from(count * 84 / most).unwrap_or(0);
        write!(
            f,
            r#"<svg class="steps" viewBox="0 0 {LANES_WIDTH} {}" role="img" aria-label="Servers with it in force over time: {} of {} now">"#,
            HEIGHT + 20,
            heights.last().copied().unwrap_or(0),
            self.of
        )?;
        axis.draw(f, HEIGHT)?;
        write!(f, r#"<path class="tick" d="M34 {0}H{1}M34 {2}H{1}"/>"#, y(0), LANES_WIDTH - 10, y(self.of))?;
        write!(f, r#"<text class="tick" x="28" y="{}" text-anchor="end">0</text>"#, y(0) + 4)?;
        write!(
            f,
            r#"<text class="tick" x="28" y="{}" text-anchor="end">{}</text>"#,
            y(self.of) + 4,
            self.of
        )?;
        write!(f, r#"<path class="area" d="M34 {}"#, y(0))?;
        for (n, count) in (0_i64..).zip(&heights) {
            write!(f, "H{}V{}", axis.left + n * axis.width / SAMPLES, y(*count))?;
        }
        write!(f, r#"V{}z"/></svg>"#, y(0))
    }
}

impl HtmlSafe for Steps {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_bar_is_filled_and_one_server_of_thousands_is_seen() {
        for parts in [
            vec![(Kind::Good, 9_999), (Kind::Bad, 1)],
            vec![(Kind::Good, 1), (Kind::Partly, 1), (Kind::Waiting, 1)],
            vec![(Kind::Held, 7)],
        ] {
            let widths = widths(&parts);
            assert_eq!(widths.iter().sum::<u64>(), BAR_WIDTH, "{parts:?}");
            assert!(widths.iter().all(|width| *width >= LEAST), "{parts:?}: {widths:?}");
        }
        let html = Bar(vec![(Kind::Good, 2), (Kind::Bad, 0)]).to_string();
        assert!(html.contains(r#"aria-label="2 in force, proven""#), "{html}");
    }

    #[test]
    fn steps_count_who_had_it_at_each_moment() {
        let (from, now) = (at("2026-11-22T00:00:00Z"), at("2026-11-22T03:00:00Z"));
        let spans = vec![
            (at("2026-11-21T00:00:00Z"), None),
            (at("2026-11-22T01:00:00Z"), None),
            (at("2026-11-22T01:00:00Z"), Some(at("2026-11-22T02:00:00Z"))),
        ];
        let heights = Steps { spans, from, now, of: 3 }.heights();
        let at_minute = |minute: usize| heights[minute];
        assert_eq!(
            [at_minute(0), at_minute(59), at_minute(60), at_minute(119), at_minute(120), at_minute(180)],
            [1, 1, 3, 3, 2, 2]
        );
    }

    #[test]
    fn a_lane_shows_exposure_then_protection_then_the_end() {
        let lane = Lane {
            name: "example:M1".into(),
            exposed: Some(at("2026-11-20T00:00:00Z")),
            first: Some(at("2026-11-20T01:00:00Z")),
            complete: Some(at("2026-11-21T00:00:00Z")),
            ended: Some(at("2026-11-22T00:00:00Z")),
        };
        let html = Lanes { lanes: vec![lane], now: at("2026-11-22T03:00:00Z") }.to_string();
        let order: Vec<usize> = ["\"exposed\"", "\"coming\"", "\"on\"", "\"fixed\""]
            .iter()
            .map(|class| html.find(class).unwrap())
            .collect();
        assert!(order.is_sorted(), "{html}");
    }
}
