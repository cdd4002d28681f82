//! What a plain scalar is, by YAML 1.2's core schema, with two departures that keep what people meant:
//!
//! - A number with a leading zero (`0755`, `007`, `01.5`) is text: YAML 1.1 read `0755` as 493 and 1.2 reads it as
//!   755, and a spec must mean the same to every reader.
//! - A number that does not fit (a whole number beyond 64 bits, a fraction beyond any float) is text, with all its
//!   digits.
//!
//! `yes`, `no`, `on`, `off`, `y` and `n` are text, as 1.2 has it.

use crate::spec::Yaml;

/// What the text of a plain scalar stands for.
#[must_use]
pub fn resolve(text: &str) -> Yaml {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Yaml::Null,
        "true" | "True" | "TRUE" => Yaml::Bool(true),
        "false" | "False" | "FALSE" => Yaml::Bool(false),
        _ => number(text).unwrap_or_else(|| Yaml::String(text.to_owned())),
    }
}

/// Whether the text is a word that YAML 1.1 read as `true` or `false`, and which.
#[must_use]
pub fn old_boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "y" => Some(true),
        "no" | "off" | "n" => Some(false),
        _ => None,
    }
}

fn number(text: &str) -> Option<Yaml> {
    // Most scalars are words: look at one byte before anything else.
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return None;
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let whole = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
            return whole.then(|| i64::from_str_radix(digits, radix).ok().map(Yaml::Int)).flatten();
        }
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" if text.starts_with('-') => return Some(Yaml::Float(f64::NEG_INFINITY)),
        ".inf" | ".Inf" | ".INF" => return Some(Yaml::Float(f64::INFINITY)),
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(Yaml::Float(f64::NAN)),
        _ => {}
    }
    if unsigned.len() > 1 && unsigned.starts_with('0') && unsigned.as_bytes()[1].is_ascii_digit() {
        return None;
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Yaml::Int);
    }
    if !is_float(unsigned) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Yaml::Float)
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(left, right)| (left, Some(right)));
    let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(left, right)| (left, Some(right)));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match fraction {
        Some(fraction) => digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()),
        None => !whole.is_empty() && digits(whole),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let number = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !number.is_empty() && digits(number)
    });
    mantissa && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_are_what_yaml_1_2_says() {
        for (text, want) in [
            ("null", Yaml::Null),
            ("TRUE", Yaml::Bool(true)),
            ("12", Yaml::Int(12)),
            ("-12", Yaml::Int(-12)),
            ("+5", Yaml::Int(5)),
            ("0", Yaml::Int(0)),
            ("0x1F", Yaml::Int(31)),
            ("0o755", Yaml::Int(493)),
            ("0.5", Yaml::Float(0.5)),
            (".5", Yaml::Float(0.5)),
            ("1e3", Yaml::Float(1000.0)),
            ("-.inf", Yaml::Float(f64::NEG_INFINITY)),
        ] {
            assert_eq!(resolve(text), want, "{text}");
        }
    }

    #[test]
    fn what_other_readers_read_otherwise_stays_text() {
        for text in [
            "0755",
            "007",
            "-012",
            "01.5",
            "no",
            "yes",
            "on",
            "off",
            "y",
            "nULL",
            "1_000",
            "0b1",
            "0x",
            "0xg",
            "-0x1",
            "12:30:45",
            "1.2.3",
            "9223372036854775808",
            "12e4567",
            "-",
            "+",
            ".",
            "1e",
            "e3",
            "2026-12-01",
            "-.nan",
            "1.2e+",
        ] {
            assert_eq!(resolve(text), Yaml::String(text.to_owned()), "{text}");
        }
    }
}
