//! Some mitigations of this project's own `mitigations/` folder, carried in the binary for the demonstration,
//! which needs no checkout. A feed starts with the folder itself ([`crate::folder::init`]).

/// One folder of `mitigations/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// The folder's name, and the mitigation's id.
    pub id: &'static str,
    /// `mitigation.xml`.
    pub config: &'static str,
    /// `attack.http`.
    pub attack: &'static str,
    /// `benign.http`.
    pub benign: &'static str,
    /// `README.md`.
    pub readme: &'static str,
}

macro_rules! builtin {
    ($($id:literal),+) => {
        &[$(Builtin {
            id: $id,
            config: include_str!(concat!("../../../mitigations/", $id, "/mitigation.xml")),
            attack: include_str!(concat!("../../../mitigations/", $id, "/attack.http")),
            benign: include_str!(concat!("../../../mitigations/", $id, "/benign.http")),
            readme: include_str!(concat!("../../../mitigations/", $id, "/README.md")),
        }),+]
    };
}

/// Those that are carried, by id.
pub const BUILTIN: &[Builtin] = builtin!["DRILL1", "M1", "PING1", "PL1"];

/// The one with this id.
pub fn find(id: &str) -> Option<&'static Builtin> {
    BUILTIN.iter().find(|builtin| builtin.id == id)
}
