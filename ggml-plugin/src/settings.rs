//! What the user sets, by environment variables, read once.

use gguffuse::matmul::Precision;
use std::sync::OnceLock;

/// Which of the engine's own weight formats are hidden from it: see `extra`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extra {
    /// Those that are slower than the plugin.
    Auto,
    /// None.
    Keep,
    /// All.
    Hide,
}

pub struct Settings {
    /// `GGUFFUSE_DISABLE`, unless empty or 0.
    pub disabled: bool,
    /// `GGUFFUSE_PRECISION`: fast, high or exact; auto (`None`) takes the cheapest one that is no worse than ggml.
    pub precision: Option<Precision>,
    /// `GGUFFUSE_EXTRA`: auto, keep or hide.
    pub extra: Extra,
    /// `GGUFFUSE_STATISTICS`, unless empty or 0: a line to stderr when the process ends.
    pub statistics: bool,
    /// What could not be understood.
    pub complaint: Option<String>,
}

impl Settings {
    /// The process's.
    pub fn get() -> &'static Settings {
        static SETTINGS: OnceLock<Settings> = OnceLock::new();
        SETTINGS.get_or_init(|| Settings::read(|name| std::env::var_os(name).map(|s| s.to_string_lossy().into_owned())))
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Settings {
        let value = |name: &str| variable(name).unwrap_or_default().to_ascii_lowercase();
        let on = |name: &str| !matches!(value(name).as_str(), "" | "0");
        let mut complaint = None;
        let mut unknown = |name: &str, expected: &str| {
            complaint = Some(format!("{name}={} is none of {expected}: taken as auto", value(name)));
        };
        let precision = match value("GGUFFUSE_PRECISION").as_str() {
            "" | "auto" => None,
            "fast" => Some(Precision::Fast),
            "high" => Some(Precision::High),
            "exact" => Some(Precision::Exact),
            _ => {
                unknown("GGUFFUSE_PRECISION", "auto, fast, high, exact");
                None
            }
        };
        let extra = match value("GGUFFUSE_EXTRA").as_str() {
            "" | "auto" => Extra::Auto,
            "keep" => Extra::Keep,
            "hide" => Extra::Hide,
            _ => {
                unknown("GGUFFUSE_EXTRA", "auto, keep, hide");
                Extra::Auto
            }
        };
        let (disabled, statistics) = (on("GGUFFUSE_DISABLE"), on("GGUFFUSE_STATISTICS"));
        Settings { disabled, precision, extra, statistics, complaint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_variables_mean() {
        let read = |pairs: &[(&str, &str)]| {
            Settings::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string()))
        };
        let none = read(&[]);
        assert!(!none.disabled && !none.statistics && none.precision.is_none() && none.complaint.is_none());
        assert_eq!(none.extra, Extra::Auto);
        assert!(read(&[("GGUFFUSE_DISABLE", "1")]).disabled);
        assert!(!read(&[("GGUFFUSE_DISABLE", "0")]).disabled);
        assert_eq!(read(&[("GGUFFUSE_PRECISION", "EXACT")]).precision, Some(Precision::Exact));
        assert_eq!(read(&[("GGUFFUSE_EXTRA", "keep")]).extra, Extra::Keep);
        let wrong = read(&[("GGUFFUSE_PRECISION", "best")]);
        assert!(wrong.precision.is_none() && wrong.complaint.unwrap().contains("best"));
    }
}
