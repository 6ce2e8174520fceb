//! Protobuf's wire format, as much of it as a SentencePiece file needs. The bytes may be anybody's: every length is checked.

/// A field's content.
pub enum Value<'a> {
    /// An integer, a truth value or an enumeration.
    Varint(u64),
    /// The bits of a 32-bit float.
    Fixed32(u32),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    /// A 64-bit number, of which no field is read.
    Fixed64,
}

/// The fields of a message, in the order of the file.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u64, Value<'a>), &'static str> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| CUT_SHORT)?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bits = self.take(4)?.try_into().map_err(|_| CUT_SHORT)?;
                Value::Fixed32(u32::from_le_bytes(bits))
            }
            _ => return Err("it is no SentencePiece model"),
        };
        Ok((tag >> 3, value))
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("it is no SentencePiece model: a number has more than 64 bits")
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }
}

const CUT_SHORT: &str = "it ends in the middle of a field";

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
