//! Choices taken from the fuzzer's bytes.

pub struct Dice<'d> {
    data: std::slice::Iter<'d, u8>,
}

impl<'d> Dice<'d> {
    pub fn new(data: &'d [u8]) -> Dice<'d> {
        Dice { data: data.iter() }
    }

    /// Zero where the bytes have run out: every generator then comes to its end.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.data.next().map_or(0, |byte| usize::from(*byte) % sides)
    }

    pub fn byte(&mut self) -> u8 {
        self.data.next().copied().unwrap_or(0)
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.roll(of.len())]
    }
}
