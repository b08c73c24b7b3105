//! What the project has of PowerShell is PowerShell: the module and the pages' scripts, by the grammar of a parser that
//! others wrote. No package of Debian's has a PowerShell, which alone could run them.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::path::Path;

use tree_sitter::{Node, Parser};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(path)).unwrap()
}

/// The first place that is none, as a line with its number; nothing where all of it is PowerShell.
fn fault(text: &str) -> Option<String> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_powershell::LANGUAGE.into()).unwrap();
    let tree = parser.parse(text, None).unwrap();
    let node = first_fault(tree.root_node())?;
    let row = node.start_position().row;
    Some(format!("line {}: {}", row + 1, text.lines().nth(row).unwrap_or_default()))
}

fn first_fault(node: Node<'_>) -> Option<Node<'_>> {
    if node.is_error() || node.is_missing() {
        return Some(node);
    }
    let mut children = (0..).map_while(|nth| node.child(nth)).filter(Node::has_error);
    children.find_map(first_fault)
}

/// The indented lines of a chapter, as one script.
fn script(page: &str, chapter: &str) -> String {
    let lines = page.lines().skip_while(|line| *line != chapter).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("## "));
    lines.filter_map(|line| line.strip_prefix("    ")).map(|line| format!("{line}\n")).collect()
}

const MODULE: &str = "packaging/windows/Stopgap.psm1";

#[test]
fn the_module_is_powershell() {
    assert_eq!(fault(&read(MODULE)), None);
}

#[test]
fn the_scripts_of_the_page_are_powershell() {
    let page = read("docs/windows.md");
    for chapter in ["## Unattended installation", "## PowerShell", "## Five minutes on a real server"] {
        let script = script(&page, chapter);
        assert!(script.lines().count() > 3, "{chapter}: {script}");
        assert_eq!(fault(&script), None, "{chapter}");
    }
}

#[test]
fn each_function_of_the_module_is_exported_or_its_own() {
    let text = read(MODULE);
    let (module, exported) = text.split_once("Export-ModuleMember -Function ").unwrap();
    let exported: Vec<&str> = exported.trim().split(", ").collect();
    for name in &exported {
        assert!(module.contains(&format!("\nfunction {name} {{")), "{name} is not there");
    }
    let own = ["Invoke-Stopgap", "Test-IsThisServer"];
    for name in module.lines().filter_map(|line| line.strip_prefix("function ")?.strip_suffix(" {")) {
        assert!(exported.contains(&name) || own.contains(&name), "{name} is not exported");
    }
}

/// One character gone, at each brace, bracket and quote of the module: an editor's usual slip.
#[test]
fn a_slip_is_found() {
    let text = read(MODULE);
    let (mut tried, mut found) = (0, 0);
    for (at, _) in text.match_indices(['{', '}', '(', ')']) {
        tried += 1;
        let slipped = text[..at].to_owned() + &text[at + 1..];
        found += usize::from(fault(&slipped).is_some());
    }
    assert!(tried > 100, "{tried}");
    // One that is within a text or a remark is none.
    assert!(found * 10 > tried * 9, "{found} of {tried} found");
}
