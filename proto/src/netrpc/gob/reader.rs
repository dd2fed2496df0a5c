//! What is read: numbers, strings, counts, and the fields of a struct.

use super::{NUMBER_BYTES, NotGob};

/// What is left of some bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn ends(&self) -> Result<(), NotGob> {
        if self.0.is_empty() { Ok(()) } else { Err(NotGob("bytes after a value")) }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], NotGob> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(NotGob("a value is cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// Below 128 a byte, otherwise the negated count of the bytes that follow, the highest first.
    pub(super) fn uint(&mut self) -> Result<u64, NotGob> {
        let first = self.take(1)?[0];
        if first < 0x80 {
            return Ok(first.into());
        }
        let count = usize::from(first.wrapping_neg());
        if count >= NUMBER_BYTES {
            return Err(NotGob("a number of more than 8 bytes"));
        }
        Ok(self.take(count)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Its lowest bit says whether the others are complemented.
    pub(super) fn int(&mut self) -> Result<i64, NotGob> {
        let number = self.uint()?;
        let shifted = (number >> 1).cast_signed();
        Ok(if number & 1 == 1 { !shifted } else { shifted })
    }

    /// The length of a message; `None` where more of it must come.
    pub(super) fn length(&mut self) -> Result<Option<usize>, NotGob> {
        let needed = match self.0.first() {
            None => return Ok(None),
            Some(first @ 0x80..) => usize::from(first.wrapping_neg()) + 1,
            Some(_) => 1,
        };
        if needed <= NUMBER_BYTES && self.0.len() < needed {
            return Ok(None);
        }
        usize::try_from(self.uint()?).map(Some).map_err(|_| NotGob("a message is too long"))
    }

    /// A count of things, each of which takes a byte at least.
    pub(super) fn count(&mut self) -> Result<usize, NotGob> {
        let count = self.uint()?;
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.0.len())
            .ok_or(NotGob("a count of more than there is"))
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], NotGob> {
        let count = self.count()?;
        self.take(count)
    }

    /// The fields of a struct that are not zero: each by how much its number is above the last, until a zero.
    pub(super) fn fields(
        &mut self,
        mut read: impl FnMut(usize, &mut Self) -> Result<(), NotGob>,
    ) -> Result<(), NotGob> {
        let mut next = 0_usize;
        loop {
            let delta = self.uint()?;
            if delta == 0 {
                return Ok(());
            }
            let number = usize::try_from(delta - 1).ok().and_then(|above| next.checked_add(above));
            let number =
                number.filter(|number| *number < usize::MAX).ok_or(NotGob("a field out of range"))?;
            read(number, self)?;
            next = number + 1;
        }
    }
}
