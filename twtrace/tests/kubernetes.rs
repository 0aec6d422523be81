//! Owns: the promise that what packaging/ has for containers is what Kubernetes and compose take, and asks for no more than twtrace needs.
//! Must not know: how a cluster is run.
//!
//! Runs where `TWTRACE_PYTHON` names a Python with kubernetes-validate; `cargo xtask install` makes one and `cargo xtask test` names it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use twtrace::host::caps::Cap;

/// Checks the manifest's objects against the schemas of several versions, and shows files as JSON.
const CHECK: &str = r#"
import json, sys, kubernetes_validate, yaml
manifest, compose = (list(yaml.safe_load_all(open(name))) for name in sys.argv[1:])
for version in ("1.30", "1.33", kubernetes_validate.latest_version()):
    for thing in manifest:
        kubernetes_validate.validate(thing, version, strict=True)
broken = json.loads(json.dumps(manifest))
for thing in broken:
    thing.setdefault("spec", {})["nonsense"] = True
refused = 0
for thing in broken:
    try:
        kubernetes_validate.validate(thing, kubernetes_validate.latest_version(), strict=True)
    except kubernetes_validate.ValidationError:
        refused += 1
print(json.dumps({"manifest": manifest, "compose": compose[0], "refused": refused}))
"#;

fn packaged(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name)
}

/// What is in both files; `None` without a Python.
fn read() -> Option<Value> {
    let Some(python) = std::env::var_os("TWTRACE_PYTHON") else {
        eprintln!(
            "skipped: TWTRACE_PYTHON names no Python with kubernetes-validate (see `cargo xtask install`)"
        );
        return None;
    };
    let files = [packaged("kubernetes/twtrace.yaml"), packaged("compose.yaml")];
    let done = Command::new(python).args(["-c", CHECK]).args(files).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(serde_json::from_slice(&done.stdout).unwrap())
}

fn sorted(list: &Value) -> Vec<String> {
    let mut all: Vec<String> =
        list.as_array().unwrap().iter().map(|one| format!("CAP_{}", one.as_str().unwrap())).collect();
    all.sort_unstable();
    all
}

#[test]
fn what_runs_in_containers_is_valid_and_has_the_capabilities_that_tracing_needs_and_no_others() {
    let Some(read) = read() else { return };
    let objects = read["manifest"].as_array().unwrap();
    // A schema that takes anything would prove nothing.
    assert_eq!(read["refused"].as_u64(), Some(objects.len() as u64));
    let kinds: Vec<&str> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["Namespace", "ServiceAccount", "ConfigMap", "DaemonSet", "Service"]);
    let mut needed: Vec<String> = Cap::ALL.map(Cap::name).into_iter().map(str::to_owned).collect();
    needed.sort_unstable();
    let pod = &objects[3]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(sorted(&context["capabilities"]["add"]), needed);
    assert_eq!((&context["privileged"], &context["readOnlyRootFilesystem"]), (&false.into(), &true.into()));
    let service = &read["compose"]["services"]["twtrace"];
    assert_eq!(sorted(&service["cap_add"]), needed);
    assert_eq!((&service["cap_drop"][0], &service["pid"]), (&"ALL".into(), &"host".into()));
    assert_eq!(service["privileged"], Value::Null);
    // Each mount has a volume.
    for mount in container["volumeMounts"].as_array().unwrap() {
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.iter().any(|volume| volume["name"] == mount["name"]), "{mount}");
    }
}

#[test]
fn nobody_is_sent_to_scrape_without_the_token_that_is_wanted() {
    let Some(read) = read() else { return };
    let config = read["manifest"][2]["data"]["twtrace.toml"].as_str().unwrap();
    assert!(config.contains("\ntoken-file = "), "{config}");
    // Jobs that go by annotations bring none.
    assert_eq!(read["manifest"][3]["spec"]["template"]["metadata"]["annotations"], Value::Null);
}

#[test]
fn a_runtime_that_starts_again_is_found_again() {
    let Some(read) = read() else { return };
    let pod = &read["manifest"][3]["spec"]["template"]["spec"];
    // A mount of a socket stays with the socket that was there first.
    for volume in pod["volumes"].as_array().unwrap() {
        let path = volume["hostPath"]["path"].as_str().unwrap_or_default();
        assert!(!path.ends_with(".sock"), "{volume}");
    }
    // The folder is where it is on the host: that is where the program looks for the socket in it.
    let named = |list: &Value| {
        let is_runtime = |one: &&Value| one["name"] == "runtime";
        list.as_array().unwrap().iter().find(is_runtime).cloned().unwrap()
    };
    let (volume, mount) = (named(&pod["volumes"]), named(&pod["containers"][0]["volumeMounts"]));
    assert_eq!(volume["hostPath"]["path"], mount["mountPath"]);
    assert_eq!((&mount["readOnly"], &mount["mountPropagation"]), (&true.into(), &"HostToContainer".into()));
}

#[test]
fn the_configuration_in_the_manifest_is_taken() {
    let Some(read) = read() else { return };
    let dir = tempfile::tempdir().unwrap();
    let config = read["manifest"][2]["data"]["twtrace.toml"].as_str().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    // A top of 0 is refused last, when all else was taken.
    let config = config.replace("/run/secrets/twtrace/token", token.to_str().unwrap());
    let path = dir.path().join("twtrace.toml");
    for (more, key) in [("", None), ("top = 0\n", Some("top")), ("nonsense = 1\n", Some("nonsense"))] {
        std::fs::write(&path, format!("{config}{more}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_twtrace"));
        // With a reason, which serve has no filter of, it ends before it asks the kernel for anything.
        command.args(["serve", "--reason", "expired", "--config"]).arg(&path);
        let done = command.output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        let wanted = key.map_or("--reason is no filter of serve".to_owned(), |key| key.to_owned());
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
}
