//! Owns: real pods, made over the Container Runtime Interface by a containerd from a local root file system: their names, asked at
//! containerd's own socket where it usually is, in metrics and recordings.
//! Must not know: containerd's configuration, the interface's messages.

use anyhow::{Context, Result};

use super::names::{PERL, PROGRAM, Said, Serving, install};
use crate::containerd::{Containerd, KUBELET};
use crate::cri::Pod;
use crate::sandbox::Sandbox;

const IMAGE: &str = "localhost/twtrace-scenarios:19";
/// What holds a pod's namespaces.
const PAUSE: [&str; 3] = [PERL, "-e", "sleep 600"];

/// A pod's name, its container's, how many sockets that makes, and what its cgroup tells of the runtime.
struct Part {
    pod: &'static str,
    name: &'static str,
    created: usize,
    runtime: &'static str,
}

/// One where the kubelet's cgroups do not tell the runtime, so that all are asked, and one in containerd's own.
const PARTS: [Part; 2] = [
    Part { pod: "web-17", name: "web", created: 7, runtime: "kubernetes" },
    Part { pod: "db-0", name: "postgres", created: 5, runtime: "containerd" },
];
const NAMESPACE: &str = "shop";

/// Starts the pod of `part`, whose container connects to `port`; what must be said of it.
fn start(containerd: &mut Containerd, part: &Part, port: &str) -> Result<Said<'static>> {
    let uid = format!("{:08x}-0017-4019-8023-{:012x}", std::process::id(), part.created);
    let cgroup = if part.runtime == "kubernetes" {
        format!("/{KUBELET}/kubepods/besteffort/pod{uid}")
    } else {
        String::new()
    };
    let pod = Pod { name: part.pod, namespace: NAMESPACE, uid: &uid, cgroup: &cgroup };
    let pod_id = containerd.cri().run_pod(&pod).with_context(|| containerd.log())?;
    containerd.pods.push(pod_id.clone());
    let program = [PERL, "-e", PROGRAM, port, &part.created.to_string()];
    let id =
        containerd.cri().run(&pod, &pod_id, part.name, IMAGE, &program).with_context(|| containerd.log())?;
    let container = format!("{}:{}", part.runtime, id.get(..12).unwrap_or(&id));
    Ok(Said { container, name: part.name, image: IMAGE, pod: part.pod, namespace: NAMESPACE })
}

/// Names are there a moment after a container's first socket, in metrics, and with its next event in the recording.
pub(in crate::scenarios) fn of_pods(sandbox: &mut Sandbox) -> Result<()> {
    let mut containerd = Containerd::start(IMAGE)?;
    let root = containerd.dir().join("files");
    install(PERL, &root)?;
    containerd.import(&root, IMAGE, &PAUSE)?;
    let serving = Serving::begin(sandbox, containerd.dir(), &[])?;
    let port = serving.port()?;
    let mut all = Vec::new();
    for part in &PARTS {
        let said = start(&mut containerd, part, &port)?;
        serving.await_names(&said, part.created)?;
        sandbox.created_untold(part.created);
        all.push((said, part.created));
    }
    let events = serving.end(sandbox)?;
    for (said, created) in &all {
        said.check(&events, *created)?;
    }
    containerd.remove_pods().with_context(|| containerd.log())
}
