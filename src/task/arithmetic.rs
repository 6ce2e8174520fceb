//! The value of a small arithmetic expression. The research code gave generated text to Python's `eval`; this reads
//! numbers, `+ - * /`, parentheses and signs, and nothing else.

/// Longer expressions have no value: the longest in SVAMP has 40 bytes.
const MAX_BYTES: usize = 256;
/// Deeper nesting has no value, so that hostile text cannot exhaust the stack.
const MAX_DEPTH: usize = 32;

/// The expression's value, or `None` where it is not one, divides by zero or overflows.
///
/// ```
/// # use stepwise::task::arithmetic::evaluate;
/// assert_eq!(evaluate("( 84.0 / 2.0 )"), Some(42.0));
/// assert_eq!(evaluate("(some - 8)"), None);
/// ```
pub fn evaluate(text: &str) -> Option<f64> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let mut reader = Reader { rest: text, depth: 0 };
    let value = reader.sum()?;
    (reader.peek().is_none() && value.is_finite()).then_some(value)
}

/// Whether two values are the same number, forgiving the order in which they were computed.
pub fn same_value(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs()).max(1.0)
}

/// Recursive descent: `sum = product (("+" | "-") product)*`, `product = signed (("*" | "/") signed)*`.
struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn sum(&mut self) -> Option<f64> {
        let mut value = self.product()?;
        loop {
            match self.peek() {
                Some('+') => value += self.after_sign(Self::product)?,
                Some('-') => value -= self.after_sign(Self::product)?,
                _ => return Some(value),
            }
        }
    }

    fn product(&mut self) -> Option<f64> {
        let mut value = self.signed()?;
        loop {
            match self.peek() {
                Some('*') => value *= self.after_sign(Self::signed)?,
                Some('/') => value = divide(value, self.after_sign(Self::signed)?)?,
                _ => return Some(value),
            }
        }
    }

    fn signed(&mut self) -> Option<f64> {
        let mut negative = false;
        while let Some(sign @ ('+' | '-')) = self.peek() {
            negative ^= sign == '-';
            self.advance();
        }
        let value = self.operand()?;
        Some(if negative { -value } else { value })
    }

    fn operand(&mut self) -> Option<f64> {
        if self.peek()? != '(' {
            return self.number();
        }
        self.advance();
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = self.sum()?;
        self.depth -= 1;
        (self.peek()? == ')').then(|| self.advance())?;
        Some(value)
    }

    fn number(&mut self) -> Option<f64> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits.bytes().any(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    fn after_sign(&mut self, read: fn(&mut Self) -> Option<f64>) -> Option<f64> {
        self.advance();
        read(self)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    /// Steps over the ASCII character that `peek` saw.
    fn advance(&mut self) {
        self.rest = &self.rest[1..];
    }
}

fn divide(left: f64, right: f64) -> Option<f64> {
    (right != 0.0).then(|| left / right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_the_value_that_school_gives_them() {
        for (text, value) in [
            ("2 + 3 * 4", 14.0),
            ("( 2 + 3 ) * 4", 20.0),
            ("10 - 4 - 3", 3.0),
            ("24 / 4 / 2", 3.0),
            ("-(3 - 5)", 2.0),
            ("2 * -3", -6.0),
            ("- - 2", 2.0),
            (" .5 + 1. ", 1.5),
            ("( 84.0 / 2.0 )", 42.0),
        ] {
            assert_eq!(evaluate(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_not_arithmetic_has_no_value() {
        for text in [
            "",
            " ",
            "()",
            "(",
            ")",
            "1 +",
            "* 2",
            "1 2",
            "2(3)",
            "(25 + x)",
            "1 / 0",
            "1 / (2 - 2)",
            "1..2",
            ".",
            "1e5",
            "2 ** 3",
            "7 // 2",
            "11,210",
            "(8 / 4) and (6 / 4)",
            "__import__('os')",
            "１",
            "nan",
            "inf",
        ] {
            assert_eq!(evaluate(text), None, "{text}");
        }
    }

    #[test]
    fn hostile_sizes_have_no_value() {
        assert_eq!(evaluate(&"(".repeat(100_000)), None);
        assert_eq!(evaluate(&format!("{}1{}", "(".repeat(33), ")".repeat(33))), None);
        assert_eq!(evaluate(&format!("{}1{}", "(".repeat(32), ")".repeat(32))), Some(1.0));
        assert_eq!(evaluate(&"9".repeat(300)), None);
        assert_eq!(evaluate(&"-".repeat(250)), None);
    }
}
