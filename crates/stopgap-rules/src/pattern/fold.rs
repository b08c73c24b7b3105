//! `Canonicalize` of ECMA-262 (22.2.2.7.3) without the `u` flag: characters are compared by their uppercase
//! form, where that is one UTF-16 unit, and nothing outside ASCII folds into it: U+017F is no s, U+212A no k.

use std::collections::HashMap;
use std::sync::OnceLock;

/// The canonical form.
pub(super) fn canonicalize(char: char) -> char {
    // Outside the basic plane a character is two units, and neither half has an uppercase form.
    if u32::from(char) > 0xFFFF {
        return char;
    }
    let mut upper = char.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(one), None) if u32::from(one) <= 0xFFFF && (char.is_ascii() || !one.is_ascii()) => one,
        _ => char,
    }
}

/// Every class of two and more characters that are equal when case is ignored.
pub(super) fn classes() -> impl Iterator<Item = &'static [char]> {
    by_form().values().map(Vec::as_slice)
}

/// The characters that are equal to this one when case is ignored, and itself; nothing where there are none.
pub(super) fn equals(char: char) -> Option<&'static [char]> {
    by_form().get(&canonicalize(char)).map(Vec::as_slice)
}

/// Classes by their canonical form.
fn by_form() -> &'static HashMap<char, Vec<char>> {
    static CLASSES: OnceLock<HashMap<char, Vec<char>>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let mut by_form: HashMap<char, Vec<char>> = HashMap::new();
        for char in '\0'..='\u{ffff}' {
            by_form.entry(canonicalize(char)).or_default().push(char);
        }
        by_form.retain(|_, class| class.len() > 1);
        by_form
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_folds_into_ascii() {
        assert_eq!(canonicalize('k'), 'K');
        assert_eq!(canonicalize('\u{212a}'), '\u{212a}');
        assert_eq!(canonicalize('\u{17f}'), '\u{17f}');
        assert_eq!(canonicalize('\u{131}'), '\u{131}');
        assert_eq!(canonicalize('é'), 'É');
        assert_eq!(canonicalize('ß'), 'ß');
        assert_eq!(canonicalize('µ'), canonicalize('μ'));
        assert_eq!(canonicalize('𐐨'), '𐐨');
        for class in classes() {
            let ascii = class.iter().filter(|c| c.is_ascii()).count();
            assert!(ascii == 0 || ascii == class.len(), "{class:?}");
        }
    }
}
