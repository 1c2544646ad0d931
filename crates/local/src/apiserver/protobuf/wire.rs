//! Protobuf's wire format: fields of a number and a value each.

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    payload: Payload<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, in the order in which they were sent.
pub(super) fn fields(bytes: &[u8]) -> impl Iterator<Item = Result<Field<'_>, String>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = read(&mut rest);
        if field.is_none() {
            rest = &[];
        }
        Some(field.ok_or_else(|| "it ends in the middle of a field, or has a wrong one".to_owned()))
    })
}

fn read<'a>(rest: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(rest)?;
    let payload = match key & 7 {
        0 => Payload::Varint(varint(rest)?),
        1 => Payload::Fixed64(u64::from_le_bytes(take(rest, 8)?.try_into().ok()?)),
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Payload::Bytes(take(rest, length)?)
        }
        5 => Payload::Fixed32(u32::from_le_bytes(take(rest, 4)?.try_into().ok()?)),
        _ => return None,
    };
    Some(Field {
        number: key >> 3,
        payload,
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(count)?;
    *rest = tail;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

// === impl Field ===

impl<'a> Field<'a> {
    pub(super) fn bytes(&self) -> Result<&'a [u8], String> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(format!("field {} must have a length", self.number)),
        }
    }

    pub(super) fn text(&self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|error| error.to_string())
    }

    pub(super) fn integer(&self) -> Result<i64, String> {
        match self.payload {
            Payload::Varint(value) => Ok(value.cast_signed()),
            _ => Err(format!("field {} must be a number", self.number)),
        }
    }

    pub(super) fn double(&self) -> Result<f64, String> {
        match self.payload {
            Payload::Fixed64(bits) => Ok(f64::from_bits(bits)),
            _ => Err(format!("field {} must be a double", self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_an_error_and_no_panic() {
        let whole = [0x0a, 0x02, b'h', b'i', 0x10, 0x96, 0x01];
        let read: Vec<_> = fields(&whole).collect::<Result<_, _>>().unwrap();
        assert_eq!(read[0].text(), Ok("hi"));
        assert_eq!(read[1].integer(), Ok(150));
        for end in [1, 2, 3, 5, 6] {
            assert!(fields(&whole[..end]).any(|field| field.is_err()), "{end}");
        }
        assert!(fields(&[0x0f]).any(|field| field.is_err()));
        assert!(fields(&[0xff; 12]).any(|field| field.is_err()));
    }
}
