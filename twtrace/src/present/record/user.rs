//! Owns: who called: under sudo that is not root, and files and commands are to be theirs.
//! Must not know: what is done in their name.

use std::ffi::CString;
use std::io;

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// A user who has us run as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Their uid.
    pub uid: Uid,
    /// Their group.
    pub gid: Gid,
    /// Every group they are in.
    pub groups: Vec<Gid>,
    /// What a login would set: HOME, USER, LOGNAME, SHELL; empty where the user has no entry in the user database.
    pub variables: Vec<(&'static str, String)>,
}

/// The user who called, where that is not the one we run as.
///
/// Two ways lead to root: `sudo`, which says in SUDO_UID and SUDO_GID who called it, and a set-uid binary, which still has
/// the caller's real uid. Only root looks at the variables: anyone can set them.
pub fn caller() -> Option<Caller> {
    let (real, effective) = (Uid::current(), Uid::effective());
    if !effective.is_root() {
        return None;
    }
    if !real.is_root() {
        let groups = nix::unistd::getgroups().unwrap_or_default();
        return Some(named(real, Gid::current(), Some(groups)));
    }
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let (uid, gid) = (number("SUDO_UID")?, number("SUDO_GID")?);
    (uid != 0).then(|| named(Uid::from_raw(uid), Gid::from_raw(gid), None))
}

fn named(uid: Uid, gid: Gid, groups: Option<Vec<Gid>>) -> Caller {
    let user = User::from_uid(uid).ok().flatten();
    let found = || {
        let name = CString::new(user.as_ref()?.name.as_str()).ok()?;
        getgrouplist(&name, gid).ok()
    };
    let groups = groups.or_else(found).unwrap_or_else(|| vec![gid]);
    let text = |path: std::path::PathBuf| path.into_os_string().into_string().ok();
    let variables = user.map_or_else(Vec::new, |user| {
        let all = [
            ("HOME", text(user.dir)),
            ("USER", Some(user.name.clone())),
            ("LOGNAME", Some(user.name)),
            ("SHELL", text(user.shell)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    });
    Caller { uid, gid, groups, variables }
}

impl Caller {
    /// Becomes this user for good: groups first, while that is still allowed. Allocates nothing, so it may run between fork
    /// and exec.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn become_them(&self) -> io::Result<()> {
        nix::unistd::setgroups(&self.groups)?;
        nix::unistd::setresgid(self.gid, self.gid, self.gid)?;
        nix::unistd::setresuid(self.uid, self.uid, self.uid)?;
        Ok(())
    }
}
