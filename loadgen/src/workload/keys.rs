//! The keys and the values.

use serde::Deserialize;
use toml::Spanned;

use super::units;

/// The keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// How many.
    pub count: Spanned<u32>,
    /// What all of them start with.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// What comes after that.
    #[serde(default)]
    pub shape: KeyShape,
    /// How often each is chosen.
    #[serde(default)]
    pub distribution: Distribution,
    /// Skew of `zipf`, `scrambled_zipf` and `latest`: the k-th key is chosen in proportion to
    /// `1 / k^exponent`.
    #[serde(default)]
    pub exponent: Option<Spanned<f64>>,
    /// How many keys a hot spot has.
    #[serde(default)]
    pub hot_keys: Option<Spanned<u32>>,
    /// How much of the load they get, from 0 to 1.
    #[serde(default)]
    pub hot_share: Option<Spanned<f64>>,
    /// A hot spot moves on to the next keys when a client has chosen so many.
    #[serde(default)]
    pub moves_after: Option<Spanned<u32>>,
}

/// What a key looks like after its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyShape {
    /// A number with leading zeros: `key/0042`.
    #[default]
    Padded,
    /// Sixteen digits that tell nothing: `key/9c3f51d20a7be846`.
    Hashed,
    /// Two digits and two digits: `key/00/42`.
    Path,
}

/// How often each key is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// One after the other, by all clients together.
    Sequential,
    /// All alike.
    #[default]
    Uniform,
    /// Few keys get most of the load: the first ones.
    Zipf,
    /// The same, but those few are spread over all keys.
    ScrambledZipf,
    /// Puts go from key to key; whatever else is done is done to those put last, the more so the
    /// later.
    Latest,
    /// Some keys get a share of the load, the rest get the rest.
    HotSpot,
    /// The same, but which they are changes.
    MovingHotSpot,
}

impl Distribution {
    /// Whether it has an exponent.
    pub fn is_skewed(self) -> bool {
        matches!(self, Distribution::Zipf | Distribution::ScrambledZipf | Distribution::Latest)
    }

    /// Whether it has hot keys.
    pub fn is_hot(self) -> bool {
        matches!(self, Distribution::HotSpot | Distribution::MovingHotSpot)
    }
}

/// The values. A value is never shorter than what makes it unique.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Values {
    /// How long they are.
    pub distribution: Sizes,
    /// Bytes of a value: of each, of the shortest of `uniform`, of the middle one of `log_normal`.
    #[serde(deserialize_with = "units::spanned_size")]
    pub size: Spanned<usize>,
    /// Bytes of the longest one of `uniform` and `log_normal`.
    #[serde(deserialize_with = "units::optional_spanned_size")]
    pub max: Option<Spanned<usize>>,
    /// Spread of `log_normal`: of 100 values, 68 are within `e^sigma` times the middle one, or that
    /// part of it.
    pub sigma: Option<Spanned<f64>>,
}

/// How long values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sizes {
    /// All alike.
    #[default]
    Fixed,
    /// Anything between two lengths.
    Uniform,
    /// Many short ones and a few long ones, as in stores that were looked at.
    LogNormal,
}

impl Default for Values {
    fn default() -> Self {
        let size = Spanned::new(0..0, 64);
        Values { distribution: Sizes::Fixed, size, max: None, sigma: None }
    }
}

impl Values {
    /// Bytes of the longest value.
    pub fn longest(&self) -> &Spanned<usize> {
        self.max.as_ref().unwrap_or(&self.size)
    }
}

fn default_prefix() -> String {
    "key/".to_owned()
}
