//! Elements as the grammar sees them: no namespaces, known attributes, text without mixture.
//!
//! The functions with `notes` put what the grammar does not know there, as sentences, and go on.

use roxmltree::Node;

/// The local name of an element without namespace.
pub(super) fn local<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    node.tag_name().namespace().is_none().then(|| node.tag_name().name())
}

/// An attribute without namespace.
pub(super) fn attribute<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.attributes().find(|a| a.namespace().is_none() && a.name() == name).map(|a| a.value())
}

/// A sentence for each attribute that is not in the list.
pub(super) fn unknown_attributes(node: Node<'_, '_>, known: &[&str]) -> Vec<String> {
    node.attributes()
        .filter(|a| a.namespace().is_some() || !known.contains(&a.name()))
        .map(|a| format!("{} has an unknown attribute `{}`", place(node), a.name()))
        .collect()
}

/// A sentence for an element that the grammar does not have there.
pub(super) fn unknown(node: Node<'_, '_>) -> String {
    match node.parent_element() {
        Some(parent) => format!("{} holds an unknown element `{}`", place(parent), node.tag_name().name()),
        None => format!("an unknown element `{}`", node.tag_name().name()),
    }
}

/// The child elements of one that holds nothing else; text between them is noted.
pub(super) fn child_elements<'a, 'i>(
    node: Node<'a, 'i>,
    notes: &mut Vec<String>,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    let text = node.children().filter(Node::is_text).filter_map(|child| child.text());
    if text.flat_map(str::bytes).any(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r')) {
        notes.push(format!("{} holds text between its elements", place(node)));
    }
    node.children().filter(Node::is_element)
}

/// The text of an element that holds nothing else, without white space around it. Comments inside
/// are no part of it (the canonical form drops them), whatever else is inside is noted.
pub(super) fn text(node: Node<'_, '_>, notes: &mut Vec<String>) -> String {
    for child in node.children() {
        if child.is_element() {
            notes.push(unknown(child));
        } else if child.is_pi() {
            notes.push(format!("{} holds a processing instruction", place(node)));
        }
    }
    let text: String = node.children().filter(Node::is_text).filter_map(|child| child.text()).collect();
    text.trim().to_owned()
}

/// The element's own text, from its `<` to its last `>`. The grammar has no namespaces, so it stands
/// alone.
pub(super) fn cut(node: Node<'_, '_>) -> String {
    node.document().input_text().get(node.range()).unwrap_or_default().to_owned()
}

/// How a sentence calls an element: its name, with its id where it has one.
pub(super) fn place(node: Node<'_, '_>) -> String {
    match attribute(node, "id") {
        Some(id) => format!("{} {}", node.tag_name().name(), id.chars().take(64).collect::<String>()),
        None => node.tag_name().name().to_owned(),
    }
}
