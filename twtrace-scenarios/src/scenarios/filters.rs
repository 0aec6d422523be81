//! Owns: scenarios in which several twtraces look at the same events, each through another filter.
//! Must not know: the harness.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use twtrace_kit::actor::{Actor, Raw, close_in_order};
use twtrace_kit::books::TIME_WAIT;
use twtrace_kit::bpf;
use twtrace_kit::wait::{PATIENCE, until_true};

use super::{aborted, by_client, by_server, dead};
use crate::cgroup::Cgroup;
use crate::expect::Pattern;
use crate::sandbox::Sandbox;
use crate::tracer::Tracer;

/// Arguments, and which events pass them.
type Case = (Vec<String>, Box<dyn Fn(&Pattern) -> bool>);

fn case(args: &[&str], passes: impl Fn(&Pattern) -> bool + 'static) -> Case {
    (args.iter().map(|arg| (*arg).to_owned()).collect(), Box::new(passes))
}

/// Who is on stage.
struct Cast {
    alpha: Actor,
    beta: Actor,
    server: Actor,
    near: Raw,
    far: Raw,
    six: Raw,
    elsewhere: (Actor, Raw),
}

fn cast(sandbox: &mut Sandbox) -> Result<Cast> {
    let server = sandbox.actor("server")?;
    let (alpha, beta) = (sandbox.actor("alpha")?, sandbox.actor("beta")?);
    beta.set_user(65534)?;
    let (client, abroad) = (sandbox.actor("alpha")?, sandbox.actor("server")?);
    abroad.unshare()?;
    client.join(&abroad)?;
    sandbox.keep_netns_of(&abroad)?;
    let elsewhere = (client, abroad.listen((Ipv4Addr::LOCALHOST, 10007))?);
    let near = server.listen((Ipv4Addr::LOCALHOST, 10007))?;
    let far = server.listen((Ipv4Addr::new(127, 0, 0, 2), 10009))?;
    let six = server.listen((Ipv6Addr::LOCALHOST, 10007))?;
    Ok(Cast { alpha, beta, server, near, far, six, elsewhere })
}

/// What all the filters look at: events of every kind but `overflow`, of two users, families, roles and namespaces.
fn perform(sandbox: &mut Sandbox, cast: &Cast) -> Result<()> {
    let Cast { alpha, beta, server, near, far, six, elsewhere } = cast;
    let reused = (Ipv4Addr::LOCALHOST, 40009);
    for _ in 0..2 {
        let pair = sandbox.pair_from(reused, alpha, near)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.wait_state(&pair.client, TIME_WAIT, true)?;
        sandbox.expect(by_client(&pair.client, alpha, "close"));
    }
    let ended = Pattern::new("ended", sandbox.netns()).is("reason", "reused_outgoing").is("sport", 40009);
    let ended = ended.is("dport", 10007).is("daddr", "127.0.0.1").is("family", "ipv4").is("role", "client");
    sandbox.expect(ended.owner(alpha, "close"));
    for _ in 0..3 {
        let pair = sandbox.pair(beta, far)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, beta, "close"));
    }
    let pair = sandbox.pair(beta, far)?;
    sandbox.half_close(&pair.client)?;
    pair.server.linger_zero()?;
    pair.server.close()?;
    sandbox.expect(aborted(&pair.server, server, "server", "linger"));
    sandbox.wait_gone(&pair.client)?;
    sandbox.expect(by_client(&pair.client, beta, "shutdown"));
    sandbox.expect(dead(&pair.client, "reset", "FIN_WAIT2").owner(beta, "shutdown").is("role", "client"));
    for _ in 0..5 {
        let pair = sandbox.pair(alpha, six)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.expect(by_server(&pair.server, server, "close"));
    }
    let pair = sandbox.pair(&elsewhere.0, &elsewhere.1)?;
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, &elsewhere.0, "close"));
    refuse(sandbox, cast)
}

fn refuse(sandbox: &mut Sandbox, cast: &Cast) -> Result<()> {
    let Cast { alpha, beta, near, .. } = cast;
    for _ in 0..2 {
        let raw = beta.socket(false, false)?;
        ensure!(raw.bind(near.local()?)?.is_err(), "the port has a listener");
        raw.close()?;
    }
    let failed = Pattern::failed("bind_failed", beta, "EADDRINUSE").is("sport", 10007);
    sandbox.expect(failed.is("family", "ipv4").times(2));
    let taken = (Ipv4Addr::LOCALHOST, 40013);
    let pair = sandbox.pair_from(taken, alpha, near)?;
    for _ in 0..3 {
        let raw = alpha.socket(false, true)?;
        ensure!(raw.bind(taken)?.is_ok(), "SO_REUSEADDR lets two connecting sockets bind one port");
        ensure!(raw.connect(near.local()?)?.is_err(), "the tuple is taken");
        raw.close()?;
    }
    let failed = Pattern::failed("connect_failed", alpha, "EADDRNOTAVAIL").is("family", "ipv4");
    sandbox.expect(failed.is("sport", 40013).is("daddr", "127.0.0.1").is("dport", 10007).times(3));
    close_in_order(&pair.client, &pair.server)?;
    sandbox.expect(by_client(&pair.client, alpha, "close"));
    Ok(())
}

/// All twtraces are there before the first event and stay to the last.
fn run_beside(sandbox: &mut Sandbox, cast: &Cast, cases: Vec<Case>) -> Result<()> {
    let mut tracers = Vec::new();
    for (args, _) in &cases {
        let args: Vec<&str> = ["--json"].into_iter().chain(args.iter().map(String::as_str)).collect();
        tracers.push(Tracer::launch(&sandbox.setup, &args)?);
    }
    for tracer in &mut tracers {
        tracer.ready()?;
    }
    perform(sandbox, cast)?;
    sandbox.settle()?;
    for (tracer, (args, passes)) in tracers.into_iter().zip(cases) {
        let told = tracer.stop(Signal::SIGINT)?;
        let expected: Vec<Pattern> = sandbox.expected().iter().filter(|p| passes(p)).cloned().collect();
        ensure!(!expected.is_empty() && expected.len() < sandbox.expected().len(), "{args:?} must divide");
        sandbox.judge_as(&args.join(" "), &told, &expected)?;
    }
    Ok(())
}

/// `--pid`, `--comm`, `--uid`, `--cgroup`, and `--not` of them. Everything here has an owner.
pub(super) fn by_process(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox)?;
    let cgroup = Cgroup::new("twtrace-scenario")?;
    cgroup.take_in(cast.beta.pid())?;
    let (alpha, beta) = (cast.alpha.pid(), cast.beta.pid());
    let cases = vec![
        case(&["--pid", &alpha.to_string()], move |p| p.says("pid", alpha)),
        case(&["--pid", &beta.to_string()], move |p| p.says("pid", beta)),
        case(&["--comm", "alpha"], |p| p.says("comm", "alpha")),
        case(&["--uid", "65534"], |p| p.says("uid", 65534)),
        case(&["--cgroup", &cgroup.path()], move |p| p.says("pid", beta)),
        case(&["--comm", "be?a,s*r,nobody"], |p| p.says("comm", "beta") || p.says("comm", "server")),
        case(&["--not-comm", "al*", "--not-comm", "x"], |p| !p.says("comm", "alpha")),
        case(&["--not-pid", &alpha.to_string(), "--comm", "a*,*ver"], move |p| {
            !p.says("pid", alpha) && !p.says("comm", "beta")
        }),
        case(&["--cgroup", &format!("{}*", cgroup.path().trim_start_matches('/'))], move |p| {
            p.says("pid", beta)
        }),
        case(&["--not-cgroup", &cgroup.path()], move |p| !p.says("pid", beta)),
        case(&["--uid", "65534", "--dport", "10009"], |p| p.says("uid", 65534) && p.says("dport", 10009)),
    ];
    run_beside(sandbox, &cast, cases)
}

/// `--netns`, `--sport`, `--dport`, `--port`, `--peer`.
pub(super) fn by_address(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox)?;
    let (here, there) = (sandbox.netns(), cast.elsewhere.0.netns());
    let cases = vec![
        case(&["--netns", "self"], move |p| p.says("netns", here)),
        case(&["--netns", &there.to_string()], move |p| p.says("netns", there)),
        case(&["--sport", "10007"], |p| p.says("sport", 10007)),
        case(&["--dport", "10009"], |p| p.says("dport", 10009)),
        case(&["--port", "10007"], |p| p.says("sport", 10007) || p.says("dport", 10007)),
        case(&["--peer", "127.0.0.2/31"], |p| p.says("daddr", "127.0.0.2")),
        case(&["--peer", "::1"], |p| p.says("daddr", "::1")),
        case(&["--dport", "10009,1", "--peer", "10.0.0.0/8,127.0.0.0/8"], |p| p.says("dport", 10009)),
        case(&["--not-peer", "::/64,127.0.0.2"], |p| {
            !p.says("daddr", "::1") && !p.says("daddr", "127.0.0.2")
        }),
        case(&["--not-port", "10009", "--not-port", "40013"], |p| {
            !["sport", "dport"].iter().any(|end| p.says(end, 10009) || p.says(end, 40013))
        }),
    ];
    run_beside(sandbox, &cast, cases)
}

/// `-4`, `-6`, `--role`, `--reason`. A connect() that fails was to be a client's; nothing but an end has a reason.
pub(super) fn by_kind(sandbox: &mut Sandbox) -> Result<()> {
    let cast = cast(sandbox)?;
    let cases = vec![
        case(&["-4"], |p| p.says("family", "ipv4")),
        case(&["-6"], |p| p.says("family", "ipv6")),
        case(&["--role", "client"], |p| p.says("role", "client") || p.kind() == "connect_failed"),
        case(&["--role", "server"], |p| p.says("role", "server")),
        case(&["--role", "server,client"], |p| {
            p.says("role", "server") || p.says("role", "client") || p.kind() == "connect_failed"
        }),
        case(&["--reason", "reset"], |p| p.says("reason", "reset")),
        case(&["--reason", "reused_outgoing"], |p| p.says("reason", "reused_outgoing")),
    ];
    run_beside(sandbox, &cast, cases)
}

/// What no filter lets pass takes no place in the ring: neither events nor the processes that they are about.
pub(super) fn nothing_travels(sandbox: &mut Sandbox) -> Result<()> {
    let server = sandbox.actor("server")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 10007))?;
    let elsewhere = [
        &["--json", "--peer", "198.51.100.0/24"][..],
        &["--json", "--comm", "cl*ts,nobody,x?*z"],
        &["--json", "--not-comm", "c*t,server"],
    ]
    .map(|args| Tracer::start(&sandbox.setup, args).map(|tracer| (args, tracer)));
    let elsewhere = elsewhere.into_iter().collect::<Result<Vec<_>>>()?;
    let here = Tracer::start(&sandbox.setup, &["--json", "--netns", "self"])?;
    let before =
        elsewhere.iter().map(|(_, tracer)| bpf::produced(tracer.pid())).collect::<Result<Vec<_>>>()?;
    let here_before = bpf::produced(here.pid())?;
    for _ in 0..7 {
        // Each of them is a process that was not seen yet.
        let client = sandbox.actor("client")?;
        let pair = sandbox.pair(&client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        sandbox.expect(by_client(&pair.client, &client, "close"));
        fail(sandbox, &client, &listener)?;
    }
    until_true(
        "what passes to be told",
        PATIENCE,
        || Ok(here.so_far()?.matches("\"created\"").count() == 7),
    )?;
    ensure!(bpf::produced(here.pid())? > here_before, "a ring in which nothing was put says nothing");
    for ((args, tracer), before) in elsewhere.into_iter().zip(before) {
        let put = bpf::produced(tracer.pid())? - before;
        ensure!(put == 0, "{put} bytes were put into the ring of {args:?}, which lets nothing pass");
        tracer.stop(Signal::SIGINT)?.events()?;
    }
    let told = here.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// A bind() that is refused, and a connection that is ended with an RST.
fn fail(sandbox: &mut Sandbox, client: &Actor, listener: &Raw) -> Result<()> {
    let raw = client.socket(false, false)?;
    ensure!(raw.bind(listener.local()?)?.err() == Some(libc::EADDRINUSE), "the port is in use");
    raw.close()?;
    sandbox.expect(Pattern::failed("bind_failed", client, "EADDRINUSE").is("sport", 10007));
    let pair = sandbox.pair(client, listener)?;
    pair.client.linger_zero()?;
    pair.client.close()?;
    sandbox.expect(aborted(&pair.client, client, "client", "linger"));
    sandbox.wait_gone(&pair.server)?;
    pair.server.close()
}

/// A service's cgroup is another one once it is restarted, and is asked for by the same path. Of one that is not asked for nothing travels
/// any more, soon after it was met.
pub(super) fn cgroup_made_again(sandbox: &mut Sandbox) -> Result<()> {
    let server = sandbox.actor("server")?;
    let listener = server.listen((Ipv4Addr::LOCALHOST, 10007))?;
    let (inside, outside) = (sandbox.actor("inside")?, sandbox.actor("outside")?);
    // One of its own: in the root of v2 are all whom v1 manages, whoever they are.
    let elsewhere = Cgroup::new("twtrace-elsewhere")?;
    elsewhere.take_in(outside.pid())?;
    let first = Cgroup::new("twtrace-again")?;
    first.take_in(inside.pid())?;
    let path = first.path();
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self", "--cgroup", &path])?;
    let connect = |sandbox: &mut Sandbox, client: &Actor| -> Result<()> {
        let pair = sandbox.pair(client, &listener)?;
        close_in_order(&pair.client, &pair.server)?;
        match client.pid() == inside.pid() {
            true => sandbox.expect(by_client(&pair.client, client, "close")),
            false => sandbox.created_untold(1),
        }
        Ok(())
    };
    connect(sandbox, &inside)?;
    drop(first);
    let again = Cgroup::new("twtrace-again")?;
    ensure!(again.path() == path, "{} is not {path}", again.path());
    again.take_in(inside.pid())?;
    for _ in 0..3 {
        connect(sandbox, &inside)?;
    }
    let told = || Ok(tracer.so_far()?.matches("\"created\"").count() == 4);
    until_true("what is in the cgroup to be told", PATIENCE, told)?;
    until_true("nothing to travel of another cgroup", PATIENCE, || {
        let before = bpf::produced(tracer.pid())?;
        connect(sandbox, &outside)?;
        Ok(bpf::produced(tracer.pid())? == before)
    })?;
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}

/// A server's sockets that were there before pass `--role server`, and so do their ends, with their reasons.
pub(super) fn role_before_start(sandbox: &mut Sandbox) -> Result<()> {
    let (client, listener) = sandbox.cast()?;
    let connect = |sandbox: &Sandbox, port: u16| {
        let pair = sandbox.pair_from((Ipv4Addr::LOCALHOST, port), &client, &listener)?;
        close_in_order(&pair.server, &pair.client)?;
        sandbox.wait_state(&pair.server, TIME_WAIT, true)?;
        anyhow::Ok(pair)
    };
    for port in 40009..40016 {
        connect(sandbox, port)?;
    }
    sandbox.created_untold(7);
    let tracer = Tracer::start(&sandbox.setup, &["--json", "--netns", "self", "--role", "server"])?;
    for port in 40009..40012 {
        // The same client comes again.
        let pair = connect(sandbox, port)?;
        sandbox.expect(dead(&pair.server, "reused_incoming", "TIME_WAIT").is("role", "server"));
        sandbox.expect(by_server(&pair.server, &listener.actor, "close"));
    }
    sandbox.settle()?;
    let told = tracer.stop(Signal::SIGINT)?;
    let expected = sandbox.expected().to_vec();
    sandbox.judge(&told, &expected)
}
