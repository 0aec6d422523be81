//! Owns: what `--version` says.
//! Must not know: anything that takes time to find out.

/// What the object that is embedded was made of and with.
const TOOLCHAIN: &str = include_str!("../../bpf/toolchain.json");

/// `twtrace 0.1.0`, and with `verbose` what this very program was built from, a line each.
pub(super) fn text(verbose: bool) -> String {
    let version = concat!("twtrace ", env!("CARGO_PKG_VERSION"));
    if !verbose {
        return format!("{version}\n");
    }
    let made: serde_json::Value = serde_json::from_str(TOOLCHAIN).unwrap_or_default();
    let of = |key: &str| made.get(key).and_then(serde_json::Value::as_str).unwrap_or("unknown").to_owned();
    let linked = if cfg!(target_feature = "crt-static") { "statically" } else { "dynamically" };
    let checks = if cfg!(debug_assertions) { ", with debug assertions" } else { "" };
    format!(
        "{version}\n\
         commit        {}\n\
         target        {}-linux, linked {linked}{checks}\n\
         BPF object    sha256 {}\n\
         \x20             of sources {}\n\
         \x20             by {}, bpf-linker {}\n\
         backends      fentry, tracepoint, kprobe\n\
         schema        version {} of JSON and recordings\n",
        option_env!("TWTRACE_COMMIT").unwrap_or("unknown: not built by `cargo xtask dist`"),
        std::env::consts::ARCH,
        of("object_sha256"),
        of("sources_sha256"),
        of("rustc"),
        of("bpf_linker"),
        crate::output::SCHEMA_VERSION,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verbose_one_names_the_object_that_is_embedded() {
        assert_eq!(text(false).lines().count(), 1);
        let said = text(true);
        assert!(said.starts_with(&text(false)), "{said}");
        // `xtask ebpf --check` holds the file to be that of the object.
        assert!(said.contains(" sha256 ") && !said.contains("sha256 unknown"), "{said}");
    }
}
