//! Owns: asking `ss`, a tool that twtrace has nothing to do with, about the TIME_WAIT sockets of the calling
//! process's network namespace.
//! Must not know: what it should say.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A TIME_WAIT socket as `ss` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shown {
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// `sk:`; `None` where there is none.
    pub cookie: Option<u64>,
}

/// All TIME_WAIT sockets of this namespace, FIN_WAIT2 mini-sockets included; `None` where there is no `ss`.
pub fn time_waits() -> Result<Option<Vec<Shown>>> {
    let output = match Command::new("ss").args(["-tanHOe"]).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("running ss"),
    };
    if !output.status.success() {
        bail!("ss: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| line.contains("timer:(timewait"));
    lines.map(|line| shown(line).with_context(|| format!("ss: {line:?}"))).collect::<Result<_>>().map(Some)
}

/// `ss -K`: ends the TIME_WAIT socket with this local end. Whether it did shows in the kernel's books.
pub fn kill(local: SocketAddr) -> Result<()> {
    let filter = [format!("{}", local.ip()), format!("{}", local.port())];
    let [address, port] = &filter;
    let status = Command::new("ss")
        .args(["-K", "-tnH", "state", "time-wait", "state", "fin-wait-2", "src", address, "sport", "=", port])
        .output()
        .context("running ss -K")?
        .status;
    if !status.success() {
        bail!("ss -K: {status}");
    }
    Ok(())
}

fn shown(line: &str) -> Result<Shown> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, local, peer, ..] = columns[..] else { bail!("too few columns") };
    let cookie = columns.iter().find_map(|column| column.strip_prefix("sk:"));
    let cookie = cookie.map(|hex| u64::from_str_radix(hex, 16)).transpose()?;
    Ok(Shown { local: address(local)?, peer: address(peer)?, cookie: cookie.filter(|cookie| *cookie != 0) })
}

/// `127.0.0.1:80`, `[::1]:80`, `[::ffff:127.0.0.1]:80`, `127.0.0.1%lo:80`.
fn address(text: &str) -> Result<SocketAddr> {
    let (host, port) = text.rsplit_once(':').context("no port")?;
    let host = host.split('%').next().unwrap_or(host).trim_matches(['[', ']']);
    let ip: IpAddr = host.parse()?;
    Ok(SocketAddr::new(ip.to_canonical(), port.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_each_kind_is_read() {
        let line = "TIME-WAIT 0 0 127.0.0.1:40009 127.0.0.1:10007 timer:(timewait,59sec,0) ino:0 sk:1001 ";
        let got = shown(line).expect("a good line");
        assert_eq!(got.local, "127.0.0.1:40009".parse().expect("an address"));
        assert_eq!(got.cookie, Some(0x1001));
        let line = "FIN-WAIT-2 0 0 [::ffff:127.0.0.1]:1 [::1]:2 timer:(timewait,59sec,0) ino:0 sk:0";
        let got = shown(line).expect("a good line");
        assert_eq!(got.local, "127.0.0.1:1".parse().expect("an address"));
        assert_eq!(got.peer, "[::1]:2".parse().expect("an address"));
        assert_eq!(got.cookie, None);
    }
}
