//! Proof: what an answer to a probe shows, given the answer to the same probe before the change.
//!
//! No answer before and after (a client certificate, an allow list, a sign-in in front) proves
//! nothing; it is never a reason to revert.

use serde::{Deserialize, Serialize};
use stopgap_feed::document::Expect;

/// What came back for one probe at one listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A response.
    Response {
        /// Status code.
        status: u16,
        /// `Content-Type` without parameters, in lower case; empty where there is none.
        media_type: String,
        /// Values of the header that the probe asks for, if it asks for one.
        header: Vec<String>,
    },
    /// The connection was closed or reset after the request, without one octet of an answer.
    Closed,
    /// No connection, no TLS, a time-out: nothing that could prove anything, and why.
    None(String),
}

/// How a target refuses on behalf of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalForm {
    /// The connection is closed without an answer.
    Close,
    /// A status code.
    Status(u16),
    /// The rule refuses nothing (a header, an allow-list).
    Nothing,
}

/// What a pair of answers shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The mitigation does what it says.
    Proven,
    /// Neither shown nor disproved, and why.
    Unproven(String),
    /// The probe that must be refused still passes.
    Ineffective(String),
    /// A request that worked before works no more: the change must be reverted.
    Harm(String),
}

/// The word in `proof` of `status --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Proof {
    Proven,
    Unproven,
    Ineffective,
}

/// Judges one probe. `header_matches` tells whether a header's value is the expected one.
pub fn judge(
    expect: &Expect,
    form: RefusalForm,
    before: &Answer,
    after: &Answer,
    header_matches: impl Fn(&str) -> bool,
) -> Judgement {
    match expect {
        Expect::Blocked => judge_blocked(form, before, after),
        Expect::Allowed => judge_allowed(before, after),
        Expect::Header { name, .. } => match after {
            Answer::Response { header, .. } if header.iter().any(|value| header_matches(value)) => {
                Judgement::Proven
            }
            Answer::Response { .. } => {
                Judgement::Ineffective(format!("the answer has no such {name} header"))
            }
            other => Judgement::Unproven(words(other)),
        },
    }
}

/// The rule's own form of refusal, which was not there before.
fn judge_blocked(form: RefusalForm, before: &Answer, after: &Answer) -> Judgement {
    let refused = |answer: &Answer| match (form, answer) {
        (RefusalForm::Close, Answer::Closed) => true,
        (RefusalForm::Status(code), Answer::Response { status, .. }) => *status == code,
        _ => false,
    };
    match (refused(before), refused(after)) {
        (false, true) if matches!(before, Answer::None(_)) => {
            Judgement::Unproven(format!("refused now, but before the change there was {}", words(before)))
        }
        (false, true) => Judgement::Proven,
        (true, _) => Judgement::Unproven("it was refused in the same way before the change".into()),
        (false, false) => match after {
            Answer::None(why) => Judgement::Unproven(format!("no answer: {why}")),
            _ if before == after && form_hidden(before) => {
                Judgement::Unproven(format!("{} before and after: something in front answers", words(before)))
            }
            _ => Judgement::Ineffective(format!("the attack still gets {}", words(after))),
        },
    }
}

/// Answers of what may stand in front of a site: a client certificate (400 on nginx), a sign-in, an
/// allow list, a rate limit. They were there before the change, and tell nothing of what is behind.
fn form_hidden(answer: &Answer) -> bool {
    matches!(answer, Answer::Response { status: 400 | 401 | 403 | 407 | 429, .. } | Answer::Closed)
}

/// The same status and type as before.
fn judge_allowed(before: &Answer, after: &Answer) -> Judgement {
    match (before, after) {
        (Answer::None(why), _) => Judgement::Unproven(format!("no answer before the change: {why}")),
        (Answer::Closed, Answer::Closed) => Judgement::Unproven("closed before and after".into()),
        (
            Answer::Response { status, media_type, .. },
            Answer::Response { status: status_after, media_type: type_after, .. },
        ) if status == status_after && media_type == type_after => Judgement::Proven,
        (Answer::Closed, Answer::Response { .. }) => {
            Judgement::Unproven("closed before, answered after".into())
        }
        _ => Judgement::Harm(format!(
            "a legitimate request got {} before and gets {} now",
            words(before),
            words(after)
        )),
    }
}

fn words(answer: &Answer) -> String {
    match answer {
        Answer::Response { status, media_type, .. } if media_type.is_empty() => format!("status {status}"),
        Answer::Response { status, media_type, .. } => format!("status {status} ({media_type})"),
        Answer::Closed => "a closed connection".into(),
        Answer::None(why) => format!("no answer ({why})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Answer::Closed;

    fn status(code: u16) -> Answer {
        Answer::Response { status: code, media_type: "text/html".into(), header: vec![] }
    }
    fn silent() -> Answer {
        Answer::None("connection refused".into())
    }
    fn blocked(form: RefusalForm, before: Answer, after: Answer) -> Judgement {
        judge(&Expect::Blocked, form, &before, &after, |_| false)
    }
    fn allowed(before: Answer, after: Answer) -> Judgement {
        judge(&Expect::Allowed, RefusalForm::Close, &before, &after, |_| false)
    }

    #[test]
    fn a_refusal_proves_only_where_there_was_none_before() {
        use RefusalForm::*;
        assert_eq!(blocked(Close, status(200), Closed), Judgement::Proven);
        assert_eq!(blocked(Status(403), status(404), status(403)), Judgement::Proven);
        for (form, before, after) in [
            (Close, Closed, Closed),
            (Status(403), status(403), status(403)),
            (Close, silent(), Closed),
            (Close, silent(), silent()),
        ] {
            assert!(matches!(blocked(form, before, after), Judgement::Unproven(_)));
        }
    }

    #[test]
    fn an_attack_that_still_passes_is_ineffective() {
        assert!(matches!(blocked(RefusalForm::Close, status(200), status(200)), Judgement::Ineffective(_)));
        assert!(matches!(blocked(RefusalForm::Close, status(200), status(500)), Judgement::Ineffective(_)));
    }

    #[test]
    fn what_stands_in_front_proves_nothing() {
        for code in [400, 401, 403, 407, 429] {
            assert!(
                matches!(blocked(RefusalForm::Close, status(code), status(code)), Judgement::Unproven(_)),
                "{code}"
            );
        }
    }

    #[test]
    fn a_legitimate_request_that_breaks_is_harm_and_silence_is_not() {
        assert_eq!(allowed(status(200), status(200)), Judgement::Proven);
        assert!(matches!(allowed(status(200), status(500)), Judgement::Harm(_)));
        assert!(matches!(allowed(status(200), Closed), Judgement::Harm(_)));
        assert!(matches!(allowed(status(200), silent()), Judgement::Harm(_)));
        assert!(matches!(allowed(silent(), silent()), Judgement::Unproven(_)));
        assert!(matches!(allowed(Closed, Closed), Judgement::Unproven(_)));
        assert_eq!(allowed(status(404), status(404)), Judgement::Proven);
    }

    #[test]
    fn a_header_is_looked_for_in_the_answer() {
        let expect = Expect::Header { name: "Content-Security-Policy".into(), pattern: "none".into() };
        let with = Answer::Response {
            status: 200,
            media_type: String::new(),
            header: vec!["script-src-attr 'none'".into()],
        };
        let matches = |value: &str| value.contains("none");
        assert_eq!(judge(&expect, RefusalForm::Nothing, &status(200), &with, matches), Judgement::Proven);
        assert!(matches!(
            judge(&expect, RefusalForm::Nothing, &with, &status(200), matches),
            Judgement::Ineffective(_)
        ));
        assert!(matches!(
            judge(&expect, RefusalForm::Nothing, &with, &silent(), matches),
            Judgement::Unproven(_)
        ));
    }
}
