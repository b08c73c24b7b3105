//! `{UrlEncode:…}`: every byte of the UTF-8 form outside RFC 3986's unreserved set becomes `%XX`.

use super::percent;
use std::borrow::Cow;

pub(super) fn apply<'a>(text: &Cow<'a, str>) -> Cow<'a, str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    match percent::encode(text, plain) {
        Cow::Borrowed(_) => text.clone(),
        Cow::Owned(encoded) => Cow::Owned(encoded),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_not_unreserved_is_encoded() {
        assert_eq!(super::apply(&"a-b_c.d~e/f é%".into()), "a-b_c.d~e%2Ff%20%C3%A9%25");
    }
}
