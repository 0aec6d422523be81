//! Kernel versions in Debian's package names, and which of them is the newest.
//!
//! Owns: their order. Must not know: where packages come from.

use crate::arch::Arch;

/// The numbers of a version, in order: `6.12.117+deb13` is 6, 12, 117, 13. Two of one suite differ in these only.
fn numbers(version: &str) -> Vec<u64> {
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// Whether `version` belongs to a series: `6.1` holds 6.1.0-56 but not 6.12.117; `7` holds 7.3.4.
pub(super) fn belongs(version: &str, series: &str) -> bool {
    let series = series.strip_suffix(".x").unwrap_or(series);
    version.strip_prefix(series).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// The newest version of a series among package names, with the packages that make it up.
///
/// From 7.x on an image is split in two: `linux-binary-*` has the kernel, `linux-modules-*` the modules, and
/// `linux-image-*` nothing.
pub(super) fn pick(packages: &[&str], series: &str, arch: Arch) -> Option<(String, Vec<String>)> {
    let newest = packages
        .iter()
        .filter_map(|name| {
            ["linux-image-", "linux-binary-"].iter().find_map(|prefix| version(name, prefix, arch))
        })
        .filter(|version| belongs(version, series))
        .max_by_key(|version| numbers(version))?;
    let full = |prefix: &str| format!("{prefix}{newest}-cloud-{}", arch.debian());
    let split = [full("linux-binary-"), full("linux-modules-")];
    let parts = if split.iter().all(|name| packages.contains(&name.as_str())) {
        split.to_vec()
    } else {
        vec![full("linux-image-")]
    };
    Some((newest.to_owned(), parts))
}

/// The version in a package name, where it names a cloud kernel of that architecture that is signed and not for debugging.
fn version<'a>(name: &'a str, prefix: &str, arch: Arch) -> Option<&'a str> {
    let version = name.strip_prefix(prefix)?.strip_suffix(arch.debian())?.strip_suffix("-cloud-")?;
    // `linux-image-6.1-cloud-amd64` is a metapackage: a real one has three numbers.
    (version.starts_with(|c: char| c.is_ascii_digit()) && numbers(version).len() >= 3).then_some(version)
}

/// The newest of versions, by their numbers.
pub(super) fn newest(versions: impl Iterator<Item = String>) -> Option<String> {
    versions.max_by_key(|version| numbers(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1-cloud-amd64",
        ];
        let (version, parts) = pick(&names, "6.1", Arch::Amd64).unwrap();
        assert_eq!(version, "6.1.0-56");
        assert_eq!(parts, ["linux-image-6.1.0-56-cloud-amd64"]);
        let names = ["linux-image-6.12.115+deb13.1-cloud-amd64", "linux-image-6.12.117+deb13-cloud-amd64"];
        assert_eq!(pick(&names, "6.12", Arch::Amd64).unwrap().0, "6.12.117+deb13");
    }

    #[test]
    fn a_split_kernel_comes_with_its_modules() {
        let names = [
            "linux-image-7.2.12+deb13-cloud-amd64",
            "linux-binary-7.2.12+deb13-cloud-amd64",
            "linux-modules-7.2.12+deb13-cloud-amd64",
            "linux-image-7.3.4+deb13-cloud-amd64",
            "linux-binary-7.3.4+deb13-cloud-amd64",
            "linux-binary-unsigned-7.9.9+deb13-cloud-amd64",
            "linux-modules-7.3.4+deb13-cloud-amd64",
        ];
        let (version, parts) = pick(&names, "7.x", Arch::Amd64).unwrap();
        assert_eq!(version, "7.3.4+deb13");
        assert_eq!(parts, ["linux-binary-7.3.4+deb13-cloud-amd64", "linux-modules-7.3.4+deb13-cloud-amd64"]);
    }

    #[test]
    fn other_series_and_flavours_do_not_count() {
        let names = [
            "linux-image-6.12.1-cloud-amd64",
            "linux-image-6.1.0-50-amd64",
            "linux-image-6.1.0-50-cloud-amd64-dbg",
            "linux-image-6.1.0-50-cloud-amd64-unsigned",
        ];
        assert_eq!(pick(&names, "6.1", Arch::Amd64), None);
        let names = ["linux-image-6.1.0-56-cloud-amd64", "linux-image-6.1.0-53-cloud-arm64"];
        assert_eq!(pick(&names, "6.1", Arch::Arm64).unwrap().1, ["linux-image-6.1.0-53-cloud-arm64"]);
        assert_eq!(pick(&["linux-image-cloud-amd64"], "6.1", Arch::Amd64), None);
        assert!(belongs("7.3.4+deb13", "7.3.4") && !belongs("7.13.4", "7.1"));
    }

    #[test]
    fn the_newest_of_a_list() {
        let versions = ["7.2.12", "7.3.4", "7.10.0"].map(str::to_owned);
        assert_eq!(newest(versions.into_iter()).as_deref(), Some("7.10.0"));
    }
}
