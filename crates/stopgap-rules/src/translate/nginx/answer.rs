//! What a deciding rule answers: the address of a redirect, the words of a response.

use super::input::{Piece, Source, pieces};
use super::maps::Maps;
use super::verdict::Effect;
use crate::function::percent;
use crate::model::Action;
use crate::template::{Names, Template};

/// The effect of an action, or why nginx has none like it.
pub(super) fn effect(
    action: &Action,
    stop: bool,
    set: &[&str],
    maps: &mut Maps,
) -> Result<Option<Effect>, String> {
    match action {
        Action::AbortRequest => Ok(Some(Effect::Abort)),
        Action::None => Ok(stop.then_some(Effect::Pass)),
        Action::CustomResponse { status, description, .. } => {
            let status = custom(*status)?;
            Ok(Some(if description.is_empty() {
                Effect::Status(status)
            } else {
                Effect::Answer { status, variable: maps.constant(description)? }
            }))
        }
        Action::Redirect { url, append_query_string, redirect_type } => {
            let variable = address(url, *append_query_string, set, maps)?;
            Ok(Some(Effect::Answer { status: redirect_type.status(), variable }))
        }
        Action::Rewrite { .. } => Err("a Rewrite changes what later rules see of the path, and nginx's own \
                                       rewrite decodes it"
            .to_owned()),
    }
}

/// nginx gives some numbers a meaning of their own: 444 closes, 494 to 499 are its own errors; a redirect
/// needs an address.
fn custom(status: u16) -> Result<u16, String> {
    match status {
        444 | 494..=499 => Err(format!("status {status} has a meaning of its own in nginx")),
        200..=299 | 400..=599 => Ok(status),
        _ => Err(format!("nginx cannot answer with status {status} alone")),
    }
}

/// The name of the variable that holds the address.
fn address(url: &str, append: bool, set: &[&str], maps: &mut Maps) -> Result<String, String> {
    let template = Template::parse(url, &Names { maps: set, own: &[] }).map_err(|error| error.to_string())?;
    let mut pieces = if template.parts.is_empty() {
        vec![Piece::Text("/".to_owned())]
    } else {
        pieces(&template.parts, url)?
    };
    let alone = pieces.len() == 1;
    match pieces.first_mut() {
        Some(Piece::Text(text)) if text.starts_with('/') || is_absolute(text) => {}
        Some(Piece::Text(text)) if alone => text.insert(0, '/'),
        // It starts with a slash.
        Some(Piece::Source(Source::Target)) => {}
        _ => {
            return Err(format!(
                "redirect to {url:?}: the request would tell whether that is an absolute address; it must \
                 start with /, https:// or {{REQUEST_URI}}"
            ));
        }
    }
    let mut word = String::new();
    for piece in pieces {
        let piece = match piece {
            Piece::Text(text) => Piece::Text(percent::encode(&text, |b| b.is_ascii_graphic()).into_owned()),
            source => source,
        };
        word.push_str(&maps.braced(&piece)?);
    }
    Ok(maps.address(&word, append))
}

impl Maps {
    /// The address in a variable of its own, with the query string behind it where that is wanted.
    fn address(&mut self, word: &str, append: bool) -> String {
        if !append {
            return self.row("address", word);
        }
        let query = self.source(Source::Query);
        let plain = self.row("plain", word);
        let number = plain.rsplit('_').next().unwrap_or_default();
        // As the engine does: & where there is a ? already.
        let mark = self.define(
            &format!("stopgap_mark_{number}"),
            &format!("${plain}"),
            "\"~^[^\\x3f]*+\\x3f\" \"&\";",
            "\"?\"",
        );
        let tail = self.define(
            &format!("stopgap_tail_{number}"),
            &format!("${query}"),
            "\"\" \"\";",
            &format!("\"${{{mark}}}${{{query}}}\""),
        );
        self.row("address", &format!("${{{plain}}}${{{tail}}}"))
    }
}

fn is_absolute(address: &str) -> bool {
    address.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}
