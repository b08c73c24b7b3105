//! `{ToLower:…}`: every character in its lowercase form (Unicode, no locale).

use std::borrow::Cow;

pub(super) fn apply<'a>(text: &Cow<'a, str>) -> Cow<'a, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase() || !b.is_ascii()) {
        Cow::Owned(text.to_lowercase())
    } else {
        text.clone()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn letters_are_lowered() {
        assert_eq!(super::apply(&"PowerShell-É".into()), "powershell-é");
        assert_eq!(super::apply(&"abc".into()), "abc");
    }
}
