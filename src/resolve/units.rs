//! Texts with a meaning: sizes, durations, times, ports, addresses. Each reads to its canonical form, or says what it
//! should look like.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Why a text is not what it should be: what was expected.
pub type Expected = String;

/// A size in GiB from `60GiB`, `1 TiB`, `60`.
///
/// Block storage and flavors count in GiB (Cinder's "GB" is 2^30 bytes), so a decimal unit is refused rather than rounded.
///
/// # Errors
/// What a size looks like.
pub fn size(text: &str) -> Result<i64, Expected> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let unit = text[digits.len()..].trim();
    let number: i64 = digits.parse().map_err(|_| "a size such as `60GiB`".to_owned())?;
    let factor = match unit {
        "" | "GiB" | "Gi" | "G" => 1,
        "TiB" | "Ti" | "T" => 1024,
        "GB" | "TB" | "MB" => {
            return Err(format!(
                "a size in GiB or TiB, such as `{number}GiB`: clouds count in powers of two, not in {unit}"
            ));
        }
        "MiB" | "KiB" | "Mi" => return Err("a whole number of GiB, such as `1GiB`".to_owned()),
        _ => return Err("a size such as `60GiB`".to_owned()),
    };
    number.checked_mul(factor).filter(|size| *size > 0).ok_or_else(|| "a size of at least 1GiB".to_owned())
}

/// A number of bytes from `100MiB`, `1.5GB`, `4096`. Files are measured both ways, so decimal units are what they say.
///
/// # Errors
/// What a number of bytes looks like.
pub fn bytes(text: &str) -> Result<i64, Expected> {
    let expected = || "a number of bytes such as `100MiB` or `4096`".to_owned();
    let text = text.trim();
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let exponent = |unit: &str| match unit {
        "" => Some(0),
        "K" => Some(1),
        "M" => Some(2),
        "G" => Some(3),
        "T" => Some(4),
        _ => None,
    };
    let unit = text[number.len()..].trim();
    let unit = unit.strip_suffix('B').unwrap_or(unit);
    let (base, unit) = unit.strip_suffix('i').map_or((1000_i64, unit), |unit| (1024, unit));
    let factor = exponent(unit).map(|exponent| base.pow(exponent)).ok_or_else(expected)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(expected());
    }
    let tenth = 10_i64.pow(u32::try_from(fraction.len()).unwrap_or_default());
    let digits: i64 = format!("{whole}{fraction}").parse().map_err(|_| expected())?;
    let bytes = i128::from(digits) * i128::from(factor) / i128::from(tenth);
    i64::try_from(bytes).ok().filter(|bytes| *bytes > 0).ok_or_else(expected)
}

/// A span of time in seconds from `4h`, `7d`, `1h30m`, `1w`.
///
/// # Errors
/// What a duration looks like.
pub fn duration(text: &str) -> Result<i64, Expected> {
    let expected = || "a duration such as `4h`, `90m`, `1h30m` or `7d`".to_owned();
    let mut seconds: i64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(expected());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let number: i64 = rest[..digits].parse().map_err(|_| expected())?;
        let unit_end = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |end| end + digits);
        let factor = match &rest[digits..unit_end] {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(expected()),
        };
        seconds = number.checked_mul(factor).and_then(|more| seconds.checked_add(more)).ok_or_else(expected)?;
        rest = rest[unit_end..].trim_start();
    }
    if seconds > 0 { Ok(seconds) } else { Err("a duration longer than nothing".to_owned()) }
}

/// A point in time, to the second and in UTC: `2026-12-01T18:00:00Z`. Seconds and offset may be left out.
///
/// # Errors
/// What a time looks like.
pub fn time(text: &str) -> Result<String, Expected> {
    let text = text.trim();
    let timestamp = text.parse::<Timestamp>().or_else(|first| {
        let local: DateTime = text.trim_end_matches('Z').replacen(' ', "T", 1).parse().map_err(|_| first)?;
        local.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let timestamp = timestamp.map_err(|_| "a time such as `2026-12-01T18:00Z`".to_owned())?;
    Ok(timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A network in CIDR form, as its network address: `192.168.1.7/24` is `192.168.1.0/24`.
///
/// # Errors
/// What a network looks like.
pub fn cidr(text: &str) -> Result<String, Expected> {
    let expected = || "a network such as `192.168.1.0/24`".to_owned();
    let net: IpNet = text.trim().parse().map_err(|_| expected())?;
    Ok(net.trunc().to_string())
}

/// An IP address.
///
/// # Errors
/// What an address looks like.
pub fn ip(text: &str) -> Result<String, Expected> {
    let address: IpAddr = text.trim().parse().map_err(|_| "an IP address such as `192.168.1.11`".to_owned())?;
    Ok(address.to_string())
}

/// A port or a range of ports: `22`, `9000-9001`.
///
/// # Errors
/// What ports look like.
pub fn ports(text: &str) -> Result<String, Expected> {
    let expected = || "a port from 1 to 65535, or a range such as `9000-9001`".to_owned();
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(expected);
    match text.split_once('-') {
        None => Ok(port(text)?.to_string()),
        Some((low, high)) => match (port(low)?, port(high)?) {
            (low, high) if low == high => Ok(low.to_string()),
            (low, high) if low < high => Ok(format!("{low}-{high}")),
            _ => Err("a range with the lower port first".to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_gib() {
        assert_eq!(size("60GiB"), Ok(60));
        assert_eq!(size("1 TiB"), Ok(1024));
        assert_eq!(size("7"), Ok(7));
        assert!(size("5GB").is_err_and(|expected| expected.contains("5GiB")));
        assert!(size("0").is_err() && size("-1GiB").is_err() && size("GiB").is_err() && size("1.5GiB").is_err());
        assert!(size("9223372036854775807TiB").is_err());
    }

    #[test]
    fn bytes_are_counted_by_thousands_or_by_1024() {
        assert_eq!((bytes("4096"), bytes("100MiB"), bytes("1.5GB")), (Ok(4096), Ok(100 << 20), Ok(1_500_000_000)));
        assert_eq!(
            (bytes("2 K"), bytes("0.5KiB"), bytes("7B"), bytes("4TiB")),
            (Ok(2000), Ok(512), Ok(7), Ok(4 << 40))
        );
        for wrong in ["", "0", "-1", "MiB", "1XB", "1.MiB.", "1,5GB", "9999999999999TiB", "0.1"] {
            assert!(bytes(wrong).is_err_and(|expected| expected.contains("100MiB")), "{wrong}");
        }
    }

    #[test]
    fn durations_add_up() {
        assert_eq!(duration("1h30m"), Ok(5_400));
        assert_eq!(duration("7d"), Ok(604_800));
        for bad in ["", "4", "h", "4 hours", "0h", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_utc_to_the_second() {
        for text in ["2026-12-01T18:00Z", "2026-12-01T18:00", "2026-12-01 18:00:00", "2026-12-01T19:00:00+01:00"] {
            assert_eq!(time(text).as_deref(), Ok("2026-12-01T18:00:00Z"), "{text}");
        }
        assert!(time("tomorrow").is_err());
    }

    #[test]
    fn ports_and_networks_are_canonical() {
        assert_eq!(ports("9000-9001").as_deref(), Ok("9000-9001"));
        assert_eq!(ports("22-22").as_deref(), Ok("22"));
        assert!(ports("0").is_err() && ports("65536").is_err() && ports("9-1").is_err() && ports("ssh").is_err());
        assert_eq!(cidr("192.168.1.7/24").as_deref(), Ok("192.168.1.0/24"));
        assert!(cidr("192.168.1.0").is_err());
    }
}
