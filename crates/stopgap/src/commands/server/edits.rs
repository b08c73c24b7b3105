//! `--mitigations-blocked`: a whole list, or changes of one.

use std::fmt::Display;
use std::str::FromStr;

use crate::exit::Failure;

/// What is to become of a list.
#[derive(Debug)]
pub struct Edits<T> {
    /// The list is these entries and no others.
    pub replace: bool,
    /// Entries that it is to have.
    pub add: Vec<T>,
    /// Entries that it is not to have.
    pub remove: Vec<T>,
}

/// `M1,M2` replaces the list, an empty text empties it; `+M1` and `-M1` change it.
pub fn read<T: FromStr<Err: Display>>(text: &str) -> Result<Edits<T>, Failure> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    let replace = !parts.iter().any(|part| part.starts_with(['+', '-']));
    let mut edits = Edits { replace, add: Vec::new(), remove: Vec::new() };
    for part in parts {
        let (list, id) = match (part.strip_prefix('+'), part.strip_prefix('-')) {
            (Some(id), _) => (&mut edits.add, id),
            (None, Some(id)) => (&mut edits.remove, id),
            (None, None) if replace => (&mut edits.add, part),
            (None, None) => {
                return Err(Failure::usage(format_args!(
                    "--mitigations-blocked {text}: give a whole list (M1,M2) or changes (+M1,-M2), not both"
                )));
            }
        };
        list.push(
            id.parse()
                .map_err(|error| Failure::usage(format_args!("--mitigations-blocked {text}: {error}")))?,
        );
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn a_list_replaces_and_signs_change() {
        let read = |text: &str| read::<stopgap_feed::Id>(text);
        let whole = read("M1, M2").unwrap();
        assert!(whole.replace);
        assert_eq!(whole.add.len(), 2);
        let change = read("+M1,-M2").unwrap();
        assert!(!change.replace);
        assert_eq!((change.add.len(), change.remove.len()), (1, 1));
        let none = read("").unwrap();
        assert!(none.replace && none.add.is_empty());
        assert_eq!(read("M1,+M2").unwrap_err().code, Code::Usage);
        assert_eq!(read("M 1").unwrap_err().code, Code::Usage);
    }
}
