//! Input strings and addresses: text with `{…}` in it. Parsed once, evaluated per request by the engine.
//!
//! `{REQUEST_URI}` a server variable; `{R:1}`, `{C:1}` a back-reference to the rule's pattern, to its
//! conditions; `{ToLower:…}` a function; `{Name:…}` a look-up in a map. They nest. A `}` outside is text; a
//! `{` always opens.

use crate::function::Function;
use crate::variable::Variable;

/// Braces within braces.
const MAX_DEPTH: usize = 8;
/// Characters of one template.
const MAX_LENGTH: usize = 8 * 1024;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    Variable(Variable),
    /// `{R:n}`.
    Rule(usize),
    /// `{C:n}`.
    Condition(usize),
    Function(Function, Template),
    /// The map's place in the set, and the key.
    Map(usize, Template),
}

/// What names stand for in this rule set.
pub(crate) struct Names<'a> {
    /// The names of the maps, in order.
    pub(crate) maps: &'a [&'a str],
    /// The names of the variables that rules set, in capitals.
    pub(crate) own: &'a [String],
}

/// A template that cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// `{` without `}`.
    #[error("a {{ is not closed in {text:?}")]
    Unclosed {
        /// The template.
        text: String,
    },
    /// Too long, or braces too deep.
    #[error("the template is longer than {MAX_LENGTH} bytes or nests deeper than {MAX_DEPTH}")]
    TooLarge,
    /// Not a variable that the engine knows, nor one that a rule sets.
    #[error("unknown server variable {{{name}}}")]
    UnknownVariable {
        /// The name.
        name: String,
    },
    /// Neither a function nor a map. Names are case-sensitive.
    #[error("unknown function or map \"{name}\"; functions are ToLower, UrlEncode, UrlDecode")]
    UnknownFunction {
        /// The name.
        name: String,
    },
    /// `{UrlDecode: …}`: IIS takes no blank there.
    #[error("a blank follows the colon of {{{name}:")]
    Blank {
        /// The function.
        name: String,
    },
    /// `{R:x}`: not a group's number.
    #[error("{{{kind}:{found}}}: expected a number from 0 to 99")]
    BadReference {
        /// R or C.
        kind: char,
        /// What stands for the number.
        found: String,
    },
}

impl Template {
    /// Parses a template.
    pub(crate) fn parse(text: &str, names: &Names) -> Result<Template, TemplateError> {
        let own = |name: &str| names.own.iter().any(|own| own == name);
        Template::bounded(text, &Scope { maps: names.maps, own: &own })
    }

    /// Parses a template of an outbound rule: `RESPONSE_<NAME>` is a variable of its own there, with
    /// underscores in its name.
    pub(crate) fn parse_outbound(text: &str, names: &Names) -> Result<Template, TemplateError> {
        let own = |name: &str| name.starts_with(RESPONSE) || names.own.iter().any(|own| own == name);
        let mut template = Template::bounded(text, &Scope { maps: names.maps, own: &own })?;
        template.fold_response_names();
        Ok(template)
    }

    fn bounded(text: &str, scope: &Scope) -> Result<Template, TemplateError> {
        if text.len() > MAX_LENGTH {
            return Err(TemplateError::TooLarge);
        }
        parse(text, scope, 0)
    }

    fn fold_response_names(&mut self) {
        for part in &mut self.parts {
            match part {
                Part::Variable(Variable::Own(name)) if name.starts_with(RESPONSE) => {
                    *name = name.replace('-', "_");
                }
                Part::Function(_, inner) | Part::Map(_, inner) => inner.fold_response_names(),
                _ => {}
            }
        }
    }

    /// Whether any part, at any depth, is so.
    pub(crate) fn any(&self, test: &impl Fn(&Part) -> bool) -> bool {
        self.parts.iter().any(|part| {
            test(part)
                || match part {
                    Part::Function(_, inner) | Part::Map(_, inner) => inner.any(test),
                    _ => false,
                }
        })
    }
}

/// What a response's variables begin with.
pub(crate) const RESPONSE: &str = "RESPONSE_";

/// The names of one parse.
struct Scope<'a> {
    maps: &'a [&'a str],
    /// Whether a name, in capitals, is a variable that only rules and responses know.
    own: &'a dyn Fn(&str) -> bool,
}

fn parse(text: &str, names: &Scope, depth: usize) -> Result<Template, TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::TooLarge);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        if !before.is_empty() {
            parts.push(Part::Text(before.to_owned()));
        }
        let end = closing(after).ok_or_else(|| TemplateError::Unclosed { text: text.to_owned() })?;
        let (inside, tail) = after.split_at(end);
        parts.push(braces(inside, names, depth)?);
        rest = tail.get(1..).unwrap_or("");
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(Template { parts })
}

/// The place of the `}` that closes what was opened just before.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some(at),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn braces(inside: &str, names: &Scope, depth: usize) -> Result<Part, TemplateError> {
    let Some((name, argument)) = inside.split_once(':') else {
        return Variable::named(inside, names.own)
            .map(Part::Variable)
            .ok_or_else(|| TemplateError::UnknownVariable { name: inside.to_owned() });
    };
    match name {
        "R" => Ok(Part::Rule(reference('R', argument)?)),
        "C" => Ok(Part::Condition(reference('C', argument)?)),
        _ => {
            if let Some(function) = Function::named(name) {
                if argument.starts_with(char::is_whitespace) {
                    return Err(TemplateError::Blank { name: name.to_owned() });
                }
                return Ok(Part::Function(function, parse(argument, names, depth + 1)?));
            }
            match names.maps.iter().position(|map| *map == name) {
                Some(map) => Ok(Part::Map(map, parse(argument, names, depth + 1)?)),
                None => Err(TemplateError::UnknownFunction { name: name.to_owned() }),
            }
        }
    }
}

fn reference(kind: char, text: &str) -> Result<usize, TemplateError> {
    let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit());
    let number = if digits { text.parse().ok() } else { None };
    number.ok_or_else(|| TemplateError::BadReference { kind, found: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Template, TemplateError> {
        Template::parse(text, &Names { maps: &["Known"], own: &["MINE".to_owned()] })
    }

    #[test]
    fn braces_nest() {
        let uri = Template { parts: vec![Part::Variable(Variable::RequestUri)] };
        let decode = |inner| Part::Function(Function::UrlDecode, inner);
        assert_eq!(parsed("{UrlDecode:{REQUEST_URI}}").unwrap().parts, [decode(uri.clone())]);
        assert_eq!(
            parsed("a{R:1}}b{Known:{C:0}}").unwrap().parts,
            [
                Part::Text("a".into()),
                Part::Rule(1),
                Part::Text("}b".into()),
                Part::Map(0, Template { parts: vec![Part::Condition(0)] }),
            ]
        );
        assert_eq!(parsed("{mine}").unwrap().parts, [Part::Variable(Variable::Own("MINE".into()))]);
    }

    #[test]
    fn each_fault_has_its_own_error() {
        assert!(matches!(parsed("a{b"), Err(TemplateError::Unclosed { .. })));
        assert!(matches!(parsed("{NOT_THERE}"), Err(TemplateError::UnknownVariable { .. })));
        assert!(matches!(parsed("{urldecode:x}"), Err(TemplateError::UnknownFunction { .. })));
        assert!(matches!(parsed("{R:x}"), Err(TemplateError::BadReference { .. })));
        assert!(matches!(parsed("{UrlDecode: {REQUEST_URI}}"), Err(TemplateError::Blank { .. })));
        assert!(matches!(parsed(&"{ToLower:".repeat(20)), Err(TemplateError::Unclosed { .. })));
        let deep = format!("{}{}", "{ToLower:".repeat(20), "}".repeat(20));
        assert!(matches!(parsed(&deep), Err(TemplateError::TooLarge)));
    }
}
