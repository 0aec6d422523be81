//! Owns: what TIME_WAIT sockets cost in kernel memory, as slabinfo(5) has it.
//! Must not know: how many sockets there should be.

use std::io;

use super::Error;

const PATH: &str = "/proc/slabinfo";
/// The caches of TIME_WAIT sockets (tw_prot_init(), net/core/sock.c, 6.1 to 7.3; proto_register(), there, 5.10). They
/// are never merged with others: they are SLAB_TYPESAFE_BY_RCU (SLAB_NEVER_MERGE, mm/slab_common.c, 5.10 to 7.3).
const CACHES: [&str; 2] = ["tw_sock_TCP", "tw_sock_TCPv6"];

/// Memory of the whole machine's TIME_WAIT sockets, all network namespaces together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeWaitSlab {
    /// Size of one, in bytes.
    pub object_bytes: u64,
    /// Memory held, in bytes: whole slabs, used or not.
    pub bytes: u64,
}

/// Reads it; `None` where the kernel does not list its slabs (CONFIG_SLUB_TINY).
///
/// # Errors
/// [`Error::Io`], mostly because only root may read it; [`Error::Malformed`].
pub fn time_wait() -> Result<Option<TimeWaitSlab>, Error> {
    let text = match std::fs::read_to_string(PATH) {
        Ok(text) => text,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::io(PATH)(source)),
    };
    // SAFETY: sysconf reads no memory of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    parse(&text, u64::try_from(page).unwrap_or(4096))
}

/// `name active_objs num_objs objsize objperslab pagesperslab : tunables a b c : slabdata active_slabs num_slabs shared`
fn parse(text: &str, page_bytes: u64) -> Result<Option<TimeWaitSlab>, Error> {
    let mut all: Option<TimeWaitSlab> = None;
    for line in text.lines() {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let Some(name) = fields.first().filter(|name| CACHES.contains(name)) else { continue };
        let number = |at: usize| fields.get(at).and_then(|text| text.parse::<u64>().ok());
        let slabs = fields.iter().position(|word| *word == "slabdata").and_then(|at| number(at + 2));
        let (Some(size), Some(pages), Some(slabs)) = (number(3), number(5), slabs) else {
            return Err(Error::malformed(PATH, format!("the line of {name} reads {line:?}")));
        };
        let sum = all.get_or_insert_default();
        sum.object_bytes = sum.object_bytes.max(size);
        sum.bytes += slabs * pages * page_bytes;
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
tw_sock_TCPv6         31     32    256   16    1 : tunables    0    0    0 : slabdata      2      2      0
request_sock_TCP       0      0    304   13    1 : tunables    0    0    0 : slabdata      0      0      0
tw_sock_TCP          144    208    248   16    2 : tunables    0    0    0 : slabdata     11     13      0
";

    #[test]
    fn both_families_count() {
        let want = TimeWaitSlab { object_bytes: 256, bytes: (2 + 13 * 2) * 4096 };
        assert_eq!(parse(TEXT, 4096).unwrap(), Some(want));
        assert_eq!(parse("slabinfo - version: 2.1\n", 4096).unwrap(), None);
    }

    #[test]
    fn a_torn_line_is_named() {
        for (from, to) in [
            ("slabdata     11     13      0", "slabdata     11"),
            ("248", "x"),
            (": slabdata     11     13      0", ""),
        ] {
            let bad = TEXT.replace(from, to);
            assert_ne!(bad, TEXT);
            let text = parse(&bad, 4096).unwrap_err().to_string();
            assert!(text.contains("/proc/slabinfo") && text.contains("tw_sock_TCP"), "{text}");
        }
    }
}
