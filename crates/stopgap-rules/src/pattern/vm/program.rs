//! The matcher's instructions, made from a pattern's structure.

use crate::pattern::ast::{Assertion, CharSet, Node};

/// One instruction. Places are indexes into the program.
#[derive(Debug)]
pub(super) enum Inst {
    /// Takes one character of the set with this index.
    Set(usize),
    Jump(usize),
    /// Tries the first, then the second.
    Split {
        first: usize,
        second: usize,
        /// Which split this is, for the memory of what failed.
        split: usize,
    },
    /// Notes the position as a group's start (even) or end (odd).
    Save(usize),
    /// A new turn of a repetition forgets what its groups took.
    Forget {
        from: usize,
        to: usize,
    },
    Assert(Assertion),
    /// Runs what follows up to `Match`, then goes on at `after`.
    Look {
        negate: bool,
        after: usize,
        pure: bool,
    },
    BackReference {
        group: usize,
        ignore_case: bool,
    },
    /// Notes where a turn starts that could be empty.
    EnterLoop(usize),
    /// Fails where that turn took nothing.
    LeaveLoop(usize),
    Match,
}

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) insts: Vec<Inst>,
    sets: Vec<Set>,
    pub(super) groups: usize,
    pub(super) splits: usize,
    pub(super) loops: usize,
    /// Whether what failed once fails always.
    pub(super) memoizable: bool,
    /// Whether it can match at the start of the text only.
    pub(super) anchored: bool,
}

#[derive(Debug)]
struct Set {
    ascii: u128,
    chars: CharSet,
}

impl Program {
    /// Compiles a pattern whose size was checked.
    pub(crate) fn compile(node: &Node) -> Program {
        let mut program = Program {
            insts: Vec::new(),
            sets: Vec::new(),
            groups: 0,
            splits: 0,
            loops: 0,
            memoizable: !node.any(&|node| matches!(node, Node::BackReference { .. })),
            anchored: starts_at_start(node),
        };
        program.groups = groups(node).end;
        program.emit(node);
        program.insts.push(Inst::Match);
        program.memoizable &= program.loops == 0;
        program
    }

    pub(super) fn set_contains(&self, set: usize, char: char) -> bool {
        self.sets.get(set).is_some_and(|set| {
            if char.is_ascii() { set.ascii >> u32::from(char) & 1 == 1 } else { set.chars.contains(char) }
        })
    }

    fn emit(&mut self, node: &Node) {
        match node {
            Node::Empty => {}
            Node::Set(chars) => {
                let set = self.set(chars);
                self.insts.push(Inst::Set(set));
            }
            Node::Group { index: None, node } => self.emit(node),
            Node::Group { index: Some(index), node } => {
                let slot = usize::try_from(index.saturating_sub(1)).unwrap_or(0) * 2;
                self.insts.push(Inst::Save(slot));
                self.emit(node);
                self.insts.push(Inst::Save(slot + 1));
            }
            Node::Concat(nodes) => nodes.iter().for_each(|node| self.emit(node)),
            Node::Alternate(nodes) => self.alternate(nodes),
            Node::Repeat { node, min, max, greedy } => self.repeat(node, *min, *max, *greedy),
            Node::Assert(assertion) => self.insts.push(Inst::Assert(*assertion)),
            Node::Look { negate, node } => {
                let look = self.insts.len();
                self.insts.push(Inst::Match);
                self.emit(node);
                self.insts.push(Inst::Match);
                let after = self.insts.len();
                let pure = groups(node).is_empty();
                self.patch(look, Inst::Look { negate: *negate, after, pure });
            }
            Node::BackReference { group, ignore_case } => self.insts.push(Inst::BackReference {
                group: usize::try_from(*group).unwrap_or(0),
                ignore_case: *ignore_case,
            }),
        }
    }

    fn alternate(&mut self, nodes: &[Node]) {
        let mut ends = Vec::new();
        for (at, node) in nodes.iter().enumerate() {
            if at + 1 == nodes.len() {
                self.emit(node);
                break;
            }
            let split = self.insts.len();
            self.insts.push(Inst::Match);
            self.emit(node);
            ends.push(self.insts.len());
            self.insts.push(Inst::Match);
            let next = self.insts.len();
            self.split(split, split + 1, next, true);
        }
        let end = self.insts.len();
        for jump in ends {
            self.patch(jump, Inst::Jump(end));
        }
    }

    fn repeat(&mut self, node: &Node, min: u32, max: Option<u32>, greedy: bool) {
        for _ in 0..min {
            self.turn(node, false);
        }
        match max {
            None => {
                let split = self.insts.len();
                self.insts.push(Inst::Match);
                self.turn(node, node.can_be_empty());
                self.insts.push(Inst::Jump(split));
                let end = self.insts.len();
                self.split(split, split + 1, end, greedy);
            }
            Some(max) => {
                let mut splits = Vec::new();
                for _ in min..max {
                    splits.push(self.insts.len());
                    self.insts.push(Inst::Match);
                    self.turn(node, node.can_be_empty());
                }
                let end = self.insts.len();
                for split in splits {
                    self.split(split, split + 1, end, greedy);
                }
            }
        }
    }

    /// One turn of a repetition.
    fn turn(&mut self, node: &Node, check: bool) {
        let groups = groups(node);
        if !groups.is_empty() {
            self.insts.push(Inst::Forget { from: groups.start * 2, to: groups.end * 2 });
        }
        if !check {
            return self.emit(node);
        }
        let register = self.loops;
        self.loops += 1;
        self.insts.push(Inst::EnterLoop(register));
        self.emit(node);
        self.insts.push(Inst::LeaveLoop(register));
    }

    fn split(&mut self, at: usize, body: usize, end: usize, greedy: bool) {
        let (first, second) = if greedy { (body, end) } else { (end, body) };
        let split = self.splits;
        self.splits += 1;
        self.patch(at, Inst::Split { first, second, split });
    }

    fn patch(&mut self, at: usize, inst: Inst) {
        if let Some(place) = self.insts.get_mut(at) {
            *place = inst;
        }
    }

    fn set(&mut self, chars: &CharSet) -> usize {
        if let Some(known) = self.sets.iter().position(|set| set.chars == *chars) {
            return known;
        }
        let ascii =
            ('\0'..='\x7f').filter(|c| chars.contains(*c)).fold(0, |bits, c| bits | 1 << u32::from(c));
        self.sets.push(Set { ascii, chars: chars.clone() });
        self.sets.len() - 1
    }
}

/// The groups within a node, counted from 0. They are numbered from left to right, so they are a range.
fn groups(node: &Node) -> std::ops::Range<usize> {
    let join = |a: std::ops::Range<usize>, b: std::ops::Range<usize>| match (a.is_empty(), b.is_empty()) {
        (true, _) => b,
        (_, true) => a,
        _ => a.start.min(b.start)..a.end.max(b.end),
    };
    match node {
        Node::Empty | Node::Set(_) | Node::Assert(_) | Node::BackReference { .. } => 0..0,
        Node::Look { node, .. } | Node::Repeat { node, .. } | Node::Group { index: None, node } => {
            groups(node)
        }
        Node::Group { index: Some(index), node } => {
            let index = usize::try_from(*index).unwrap_or(0);
            join(index.saturating_sub(1)..index, groups(node))
        }
        Node::Concat(nodes) | Node::Alternate(nodes) => {
            nodes.iter().fold(0..0, |range, node| join(range, groups(node)))
        }
    }
}

fn starts_at_start(node: &Node) -> bool {
    match node {
        Node::Assert(Assertion::Start) => true,
        Node::Concat(nodes) => nodes.first().is_some_and(starts_at_start),
        Node::Group { node, .. } => starts_at_start(node),
        Node::Alternate(nodes) => nodes.iter().all(starts_at_start),
        _ => false,
    }
}
