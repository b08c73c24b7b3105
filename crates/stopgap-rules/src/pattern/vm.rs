//! Look-around and back-references: a backtracking matcher with ECMA-262's own rules (22.2.2), which counts
//! its steps.
//!
//! A position in the program at a position in the text that failed once fails always, so it is remembered
//! and not tried again: the work is then at most program times text. That does not hold where the outcome
//! depends on what happened before, which is with back-references and with repetitions of something that can
//! be empty; such patterns rely on the step limit. Within a look-ahead that captures nothing, success is
//! remembered likewise.

mod program;

pub(crate) use program::Program;

use super::ast::Assertion;
use super::fold::canonicalize;
use super::{Budget, Captures, OverLimit};
use program::Inst;

/// Bits of memory for what failed and succeeded, 4 MB in all. Larger needs go without.
const MEMO_BITS: usize = 16 * 1024 * 1024;
/// Open alternatives and restorable values, 24 MB. More counts as over the limit.
const MAX_FRAMES: usize = 1024 * 1024;

const UNSET: usize = usize::MAX;

impl Program {
    pub(crate) fn is_match(&self, text: &str, budget: &mut Budget) -> Result<bool, OverLimit> {
        Ok(search(self, text, budget)?.is_some())
    }

    pub(crate) fn captures(&self, text: &str, budget: &mut Budget) -> Result<Option<Captures>, OverLimit> {
        let Some((saves, start, end)) = search(self, text, budget)? else { return Ok(None) };
        let groups = saves.chunks(2).map(|pair| match pair {
            [from, to] if *from != UNSET && *to != UNSET => Some(*from..*to),
            _ => None,
        });
        Ok(Some(std::iter::once(Some(start..end)).chain(groups).collect()))
    }
}

fn search(
    program: &Program,
    text: &str,
    budget: &mut Budget,
) -> Result<Option<(Vec<usize>, usize, usize)>, OverLimit> {
    let mut machine = Machine {
        program,
        text,
        saves: vec![UNSET; program.groups * 2],
        loops: vec![UNSET; program.loops],
        frames: Vec::new(),
        memo: Memo::new(program, text),
        budget,
    };
    for start in 0..=text.len() {
        if !text.is_char_boundary(start) {
            continue;
        }
        if let Some(end) = machine.run(0, start, false)? {
            return Ok(Some((machine.saves, start, end)));
        }
        if program.anchored {
            break;
        }
    }
    Ok(None)
}

/// What to go back to.
enum Frame {
    Branch {
        pc: usize,
        pos: usize,
    },
    /// Below the alternatives of a split: when it is reached, all of them have failed.
    Tried {
        split: usize,
        pos: usize,
    },
    Save {
        slot: usize,
        old: usize,
    },
    Loop {
        register: usize,
        old: usize,
    },
}

struct Machine<'p, 't, 'b> {
    program: &'p Program,
    text: &'t str,
    saves: Vec<usize>,
    loops: Vec<usize>,
    frames: Vec<Frame>,
    memo: Option<Memo>,
    budget: &'b mut Budget,
}

impl Machine<'_, '_, '_> {
    /// Runs until the end of the program or of the look-ahead; the end of the match, or nothing. `pure`: in
    /// a look-ahead without groups, whose successes can be remembered. Frames above those at the start are
    /// gone afterwards, but for the values to restore after a success.
    fn run(&mut self, mut pc: usize, mut pos: usize, pure: bool) -> Result<Option<usize>, OverLimit> {
        let base = self.frames.len();
        let program = self.program;
        loop {
            self.budget.step()?;
            if self.frames.len() > MAX_FRAMES {
                return Err(OverLimit);
            }
            let went_on = match program.insts.get(pc) {
                None | Some(Inst::Match) => {
                    self.succeed(base, pure);
                    return Ok(Some(pos));
                }
                Some(Inst::Set(set)) => match self.char_at(pos) {
                    Some(char) if program.set_contains(*set, char) => {
                        pos += char.len_utf8();
                        pc += 1;
                        true
                    }
                    _ => false,
                },
                Some(Inst::Jump(to)) => {
                    pc = *to;
                    true
                }
                Some(Inst::Split { first, second, split }) => match self.remembered(*split, pos) {
                    Some(false) => false,
                    Some(true) if pure => {
                        self.succeed(base, pure);
                        return Ok(Some(pos));
                    }
                    _ => {
                        self.frames.push(Frame::Tried { split: *split, pos });
                        self.frames.push(Frame::Branch { pc: *second, pos });
                        pc = *first;
                        true
                    }
                },
                Some(Inst::Save(slot)) => {
                    self.save(*slot, pos);
                    pc += 1;
                    true
                }
                Some(Inst::Forget { from, to }) => {
                    self.budget.spend(*to - *from)?;
                    for slot in *from..*to {
                        self.save(slot, UNSET);
                    }
                    pc += 1;
                    true
                }
                Some(Inst::Assert(assertion)) => {
                    pc += 1;
                    self.holds(*assertion, pos)
                }
                Some(Inst::Look { negate, after, pure }) => {
                    let (negate, after, pure) = (*negate, *after, *pure);
                    let inner = self.frames.len();
                    let found = self.run(pc + 1, pos, pure)?.is_some();
                    if negate {
                        self.unwind(inner);
                    }
                    pc = after;
                    found != negate
                }
                Some(Inst::BackReference { group, ignore_case }) => {
                    match self.back_reference(*group, *ignore_case, pos)? {
                        Some(end) => {
                            pos = end;
                            pc += 1;
                            true
                        }
                        None => false,
                    }
                }
                Some(Inst::EnterLoop(register)) => {
                    self.enter(*register, pos);
                    pc += 1;
                    true
                }
                // RepeatMatcher, step 2.b: a turn that took nothing is a failure.
                Some(Inst::LeaveLoop(register)) => {
                    pc += 1;
                    self.loops.get(*register) != Some(&pos)
                }
            };
            if !went_on {
                match self.backtrack(base) {
                    Some((to, at)) => (pc, pos) = (to, at),
                    None => return Ok(None),
                }
            }
        }
    }

    /// The youngest open alternative above `base`.
    fn backtrack(&mut self, base: usize) -> Option<(usize, usize)> {
        while self.frames.len() > base {
            match self.frames.pop()? {
                Frame::Branch { pc, pos } => return Some((pc, pos)),
                Frame::Tried { split, pos } => {
                    if let Some(memo) = &mut self.memo {
                        memo.failed.set(split, pos);
                    }
                }
                restore => self.restore(&restore),
            }
        }
        None
    }

    /// Drops the alternatives above `base`; the values stay restorable by whoever backtracks over this match.
    fn succeed(&mut self, base: usize, pure: bool) {
        let above = self.frames.split_off(base);
        for frame in above {
            match frame {
                Frame::Branch { .. } => {}
                // Its alternatives are under way: it lies on the path that succeeded.
                Frame::Tried { split, pos } => {
                    if let Some(memo) = self.memo.as_mut().filter(|_| pure) {
                        memo.succeeded.set(split, pos);
                    }
                }
                restore => self.frames.push(restore),
            }
        }
    }

    fn unwind(&mut self, base: usize) {
        while self.frames.len() > base {
            if let Some(frame) = self.frames.pop() {
                self.restore(&frame);
            }
        }
    }

    fn restore(&mut self, frame: &Frame) {
        match *frame {
            Frame::Save { slot, old } => {
                if let Some(value) = self.saves.get_mut(slot) {
                    *value = old;
                }
            }
            Frame::Loop { register, old } => {
                if let Some(value) = self.loops.get_mut(register) {
                    *value = old;
                }
            }
            Frame::Branch { .. } | Frame::Tried { .. } => {}
        }
    }

    fn save(&mut self, slot: usize, new: usize) {
        if let Some(value) = self.saves.get_mut(slot) {
            let old = std::mem::replace(value, new);
            self.frames.push(Frame::Save { slot, old });
        }
    }

    fn enter(&mut self, register: usize, pos: usize) {
        if let Some(value) = self.loops.get_mut(register) {
            let old = std::mem::replace(value, pos);
            self.frames.push(Frame::Loop { register, old });
        }
    }

    fn remembered(&self, split: usize, pos: usize) -> Option<bool> {
        let memo = self.memo.as_ref()?;
        if memo.failed.get(split, pos) {
            return Some(false);
        }
        memo.succeeded.get(split, pos).then_some(true)
    }

    fn char_at(&self, pos: usize) -> Option<char> {
        self.text.get(pos..)?.chars().next()
    }

    fn holds(&self, assertion: Assertion, pos: usize) -> bool {
        let word = |at: Option<usize>| {
            at.and_then(|at| self.text.as_bytes().get(at))
                .is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        };
        let boundary = || word(pos.checked_sub(1)) != word(Some(pos));
        match assertion {
            Assertion::Start => pos == 0,
            Assertion::End => pos == self.text.len(),
            Assertion::WordBoundary => boundary(),
            Assertion::NotWordBoundary => !boundary(),
        }
    }

    /// The end of what equals the group's capture at this place. A group that took no part is empty. Each
    /// character that is compared is a step: a capture can be as long as the text.
    fn back_reference(
        &mut self,
        group: usize,
        ignore_case: bool,
        pos: usize,
    ) -> Result<Option<usize>, OverLimit> {
        let at = group.saturating_sub(1) * 2;
        let captured = match (self.saves.get(at), self.saves.get(at + 1)) {
            (Some(from), Some(to)) if *from != UNSET && *to != UNSET => self.text.get(*from..*to),
            _ => return Ok(Some(pos)),
        };
        let (Some(captured), Some(rest)) = (captured, self.text.get(pos..)) else { return Ok(None) };
        let mut end = pos;
        let mut found = rest.chars();
        for wanted in captured.chars() {
            self.budget.step()?;
            let same =
                |char: char| char == wanted || (ignore_case && canonicalize(char) == canonicalize(wanted));
            let Some(char) = found.next().filter(|char| same(*char)) else { return Ok(None) };
            end += char.len_utf8();
        }
        Ok(Some(end))
    }
}

/// What is known of each split at each position.
struct Memo {
    failed: Bits,
    succeeded: Bits,
}

impl Memo {
    fn new(program: &Program, text: &str) -> Option<Memo> {
        let width = text.len() + 1;
        let bits = program.splits.checked_mul(width)?;
        if !program.memoizable || bits > MEMO_BITS {
            return None;
        }
        let bits = || Bits { width, words: vec![0; bits.div_ceil(64)] };
        Some(Memo { failed: bits(), succeeded: bits() })
    }
}

struct Bits {
    width: usize,
    words: Vec<u64>,
}

impl Bits {
    fn set(&mut self, split: usize, pos: usize) {
        let bit = split * self.width + pos;
        if let Some(word) = self.words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn get(&self, split: usize, pos: usize) -> bool {
        let bit = split * self.width + pos;
        self.words.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0)
    }
}
