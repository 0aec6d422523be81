//! Owns: how well-known programs are told to keep connections: hints, by the file of the program.
//! Must not know: findings.

use crate::diagnose::facts::Process;

/// Programs by the beginning of their file's name, and what to set in them.
const KNOWN: &[(&[&str], &str)] = &[
    (
        &["nginx", "openresty", "angie"],
        "nginx: an upstream block with `keepalive 64;` (an address in proxy_pass alone has none in most versions), with \
         `proxy_http_version 1.1; proxy_set_header Connection \"\";`, and `keepalive_requests` not too low",
    ),
    (
        &["haproxy"],
        "HAProxy: `http-reuse safe` (or always) and `option http-keep-alive` in the backend, `pool-max-conn`; more `source` \
         addresses where ports are short",
    ),
    (
        &["envoy", "pilot-agent", "istio"],
        "Envoy and Istio: raise `max_requests_per_connection`, keep the cluster's idle timeout above the time between requests; \
         inbound connections of a sidecar come from 127.0.0.6, which is one pool",
    ),
    (
        &["php-fpm", "php", "apache2", "httpd"],
        "PHP: persistent connections (`PDO::ATTR_PERSISTENT`, `pconnect`, curl handles that are kept), or a pooler in front",
    ),
    (
        &["node"],
        "Node: an http.Agent with `keepAlive: true` (the default from 19 on) and enough `maxFreeSockets`, shared by all requests",
    ),
    (
        &["python", "gunicorn", "uwsgi", "celery"],
        "Python: one requests.Session (or httpx.Client) for all requests, with a large enough `pool_maxsize`",
    ),
    (
        &["java"],
        "Java: one client with a pool (HikariCP for databases; Apache HttpClient: `setMaxConnPerRoute`, which is 2 to 5), read \
         responses to the end",
    ),
    (
        &["pgbouncer"],
        "PgBouncer: `pool_mode = transaction`, `server_idle_timeout` and `server_lifetime` long enough, clients that keep their own \
         connections",
    ),
    (&["redis", "valkey"], "Redis clients: one pool for each process, not a connection for each command"),
    (&["ab"], "ab: `-k`"),
    (&["wrk", "hey"], "load generators: keep-alive on, as their clients have"),
];

/// What to do where the program is none of these.
const ANY: &str = "keep connections in a pool and reuse them (Go: read bodies to the end and raise MaxIdleConnsPerHost, which is 2; \
                   nginx: `keepalive` in the upstream block; PHP: persistent connections)";

/// The hint for a program, by its file, or by its name where that is not known: `php-fpm8.2`, `php8.2-fpm` and `/usr/sbin/php-fpm` are one.
pub(super) fn how_to_keep(process: Option<&Process>) -> &'static str {
    let Some(process) = process else { return ANY };
    let file = process.exe.as_deref().and_then(|exe| exe.trim_end_matches(" (deleted)").rsplit('/').next());
    let is = |name: &str, known: &str| {
        let rest = name.strip_prefix(known);
        // A longer word that begins alike is another program.
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    let hint = |name: &str| {
        KNOWN.iter().find(|(names, _)| names.iter().any(|known| is(name, known))).map(|(_, hint)| *hint)
    };
    file.and_then(hint).or_else(|| hint(&process.comm)).unwrap_or(ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_its_file_whatever_it_calls_itself() {
        let hint = |exe: Option<&str>, comm: &str| {
            let exe = exe.map(str::to_owned);
            how_to_keep(Some(&Process { exe, comm: comm.into(), ..Process::default() }))
        };
        for (exe, comm, word) in [
            (Some("/usr/sbin/php-fpm8.2"), "php-fpm8.2", "PHP"),
            (None, "php8.2-fpm", "PHP"),
            (Some("/usr/sbin/nginx (deleted)"), "worker", "nginx"),
            (Some("/usr/bin/python3.11"), "gunicorn: worke", "Python"),
            (Some("/usr/lib/jvm/bin/java"), "http-nio-8080", "Java"),
            (None, "redis-cli", "Redis"),
            (None, "haproxy", "HAProxy"),
        ] {
            assert!(hint(exe, comm).starts_with(word), "{exe:?} {comm}: {}", hint(exe, comm));
        }
        for other in ["nodejsish", "absolute", "checkout-api"] {
            assert_eq!(hint(None, other), ANY, "{other}");
        }
        assert_eq!(how_to_keep(None), ANY);
    }
}
