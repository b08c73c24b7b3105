//! How much a document may ask of the reader.
//!
//! The feed comes from the network and the agent runs with privileges, so every limit is checked
//! before the work that it bounds: the size before decoding, the counts in [`crate::scan`] before a
//! tree is built.

/// Bounds on one document. [`Limits::default`] is about a thousand times Microsoft's own document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the whole document.
    pub bytes: usize,
    /// Elements inside each other. A feed needs 10; recursion over a checked tree is safe at 64.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included. The tree parser looks for
    /// duplicates in quadratic time.
    pub attributes: usize,
    /// Namespace declarations in the whole document. Each one is inherited by everything below it,
    /// and the cost of that is their product with the elements.
    pub namespaces: usize,
    /// Elements, texts, comments, processing instructions and references together; the octets `<` and
    /// `=`, from which the tree parser guesses how much memory to reserve, each count too. It bounds
    /// the tree at about 200 octets a node.
    pub nodes: usize,
    /// Octets of one element or attribute name.
    pub name: usize,
    /// Certificates in `KeyInfo` and in the timestamp, each. Every one is tried as the signer's.
    pub certificates: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 16 * 1024 * 1024,
            depth: 64,
            attributes: 64,
            namespaces: 64,
            nodes: 500_000,
            name: 256,
            certificates: 16,
        }
    }
}
