//! Durations and sizes with their units: `"30s"`, `"256B"`. A bare number is refused, because
//! everybody reads another unit into it.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use toml::Spanned;

/// Reads `"30s"`, `"500ms"`, `"2m"`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let nanos_per_unit: u64 = match unit {
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(format!("`{text}` has no unit; write `{text}s` or `{text}ms`")),
        other => return Err(format!("unknown unit `{other}`; use us, ms, s, m or h")),
    };
    let count: u64 = number.parse().map_err(|error| format!("`{text}`: {error}"))?;
    count
        .checked_mul(nanos_per_unit)
        .map(Duration::from_nanos)
        .ok_or_else(|| format!("`{text}` is too long"))
}

/// Reads `"256B"`, `"1KiB"`, `"4MiB"`.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let bytes_per_unit: usize = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "" => return Err(format!("`{text}` has no unit; write `{text}B` or `{text}KiB`")),
        other => return Err(format!("unknown unit `{other}`; use B, KiB or MiB")),
    };
    let count: usize = number.parse().map_err(|error| format!("`{text}`: {error}"))?;
    count.checked_mul(bytes_per_unit).ok_or_else(|| format!("`{text}` is too large"))
}

fn split(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(digits)
}

struct DurationText(Duration);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"30s\" or \"500ms\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DurationText, E> {
                parse_duration(text).map(DurationText).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

struct SizeText(usize);

impl<'de> Deserialize<'de> for SizeText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = SizeText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size with its unit, such as \"256B\" or \"1KiB\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<SizeText, E> {
                parse_size(text).map(SizeText).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Text)
    }
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    DurationText::deserialize(deserializer).map(|text| text.0)
}

pub(super) fn optional_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

pub(super) fn spanned_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Spanned<Duration>, D::Error> {
    let text = Spanned::<DurationText>::deserialize(deserializer)?;
    let span = text.span();
    Ok(Spanned::new(span, text.into_inner().0))
}

pub(super) fn optional_spanned_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<Duration>>, D::Error> {
    spanned_duration(deserializer).map(Some)
}

pub(super) fn spanned_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Spanned<usize>, D::Error> {
    let text = Spanned::<SizeText>::deserialize(deserializer)?;
    let span = text.span();
    Ok(Spanned::new(span, text.into_inner().0))
}

pub(super) fn optional_spanned_size<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Spanned<usize>>, D::Error> {
    spanned_size(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in [
            ("30s", Ok(Duration::from_secs(30))),
            ("500ms", Ok(Duration::from_millis(500))),
            ("2m", Ok(Duration::from_mins(2))),
            ("7us", Ok(Duration::from_micros(7))),
            ("30", Err("`30` has no unit; write `30s` or `30ms`".to_owned())),
            ("30sec", Err("unknown unit `sec`; use us, ms, s, m or h".to_owned())),
            ("s", Err("`s`: cannot parse integer from empty string".to_owned())),
            ("99999999999h", Err("`99999999999h` is too long".to_owned())),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes() {
        for (text, expected) in [
            ("256B", Ok(256)),
            ("1KiB", Ok(1024)),
            ("2MiB", Ok(2 << 20)),
            ("1kb", Err("unknown unit `kb`; use B, KiB or MiB".to_owned())),
            ("64", Err("`64` has no unit; write `64B` or `64KiB`".to_owned())),
        ] {
            assert_eq!(parse_size(text), expected, "{text}");
        }
    }
}
