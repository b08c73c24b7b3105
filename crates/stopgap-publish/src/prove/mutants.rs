//! The mutants of an attack, held against the rules that should refuse them.

use stopgap_rules::{Connection, Request};

use super::{Forged, MitigationRules, Survivor};
use crate::forge::{self, Declared, Mutation};
use crate::requests::SampleRequest;

/// Survivors of one attack that are listed; the rest are counted.
const LISTED: usize = 20;

/// Tries every mutation that applies.
pub(super) fn forge(own: &MitigationRules<'_>, attack: &SampleRequest, declared: &Declared) -> Forged {
    let mut forged = Forged {
        mitigation: own.mitigation.id.clone(),
        name: attack.name.clone(),
        tried: 0,
        survived: 0,
        survivors: Vec::new(),
    };
    for mutation in Mutation::ALL.into_iter().filter(|mutation| declared.applies(*mutation)) {
        for head in forge::mutants(&attack.head, mutation) {
            // What is no request any more is an attack no more.
            let Ok(request) = Request::parse_head(head.as_bytes(), &Connection::default()) else { continue };
            forged.tried += 1;
            if own.refusal(&request).is_some_and(|(_, verdict)| !verdict.over_limit) {
                continue;
            }
            forged.survived += 1;
            if forged.survivors.len() < LISTED {
                forged.survivors.push(Survivor { mutation, head });
            }
        }
    }
    forged
}
