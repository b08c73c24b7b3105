//! What is in force of pieces as the server is now, without placing any.

use crate::check::{CheckError, check};
use crate::tree::{Environment, Tree};

use super::piece::{Piece, Wanted};
use super::{PlacedPiece, standing};

/// Every level that each piece is meant for, as it is, in the order given: [`super::place`] tells them as they would
/// be.
///
/// # Errors
/// [`CheckError`] where the tree is not a server's.
pub fn states(
    tree: &dyn Tree,
    environment: &Environment,
    pieces: &[Piece],
) -> Result<Vec<PlacedPiece>, CheckError> {
    let report = check(tree, environment)?;
    let state = |piece: &Piece| {
        let marker = piece.marker.clone();
        match Wanted::of(piece, &report) {
            Err(refused) => {
                PlacedPiece { marker, refused: Some(refused), levels: Vec::new(), notes: Vec::new() }
            }
            Ok(wanted) => PlacedPiece {
                marker,
                refused: None,
                levels: standing::levels(tree, &report, &wanted),
                notes: standing::passed_by(&report, &wanted),
            },
        }
    };
    Ok(pieces.iter().map(state).collect())
}
