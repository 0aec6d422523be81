//! Owns: the forms of cgroup paths that are known, and those that must not be taken for a container.

use super::*;

const A: &str = "3f1c0f9a7e0b52d4c8a6b1e09d7f33215c4e8b6a90d1f2e3a4b5c6d7e8f90a1b";
const B: &str = "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef";
const UID: &str = "7f1d5c3a-0b2e-4c6d-8e9f-a1b2c3d4e5f6";
const STATIC_UID: &str = "0123456789abcdef0123456789abcdef";

/// `{A}`, `{B}`, `{U}` (pod uid), `{u}` (the same with underscores), `{S}` (static pod's uid) are filled in.
fn fill(pattern: &str) -> String {
    pattern
        .replace("{A}", A)
        .replace("{B}", B)
        .replace("{U}", UID)
        .replace("{u}", &UID.replace('-', "_"))
        .replace("{S}", STATIC_UID)
}

fn found(pattern: &str) -> Option<(Runtime, String, Option<String>)> {
    container_of(&fill(pattern)).map(|container| {
        let named = matches!(container.runtime, Runtime::Lxc | Runtime::Nspawn);
        let short: String = container.id.chars().take(if named { usize::MAX } else { 12 }).collect();
        assert_eq!(container.short, short, "{pattern}");
        (container.runtime, container.id, container.pod_uid)
    })
}

#[test]
fn containers_outside_kubernetes() {
    use Runtime::{Containerd, Docker, Ecs, Garden, Lxc, Nspawn, Podman};
    for (pattern, runtime, id) in [
        ("/docker/{A}", Docker, "{A}"),
        ("/docker/{A}/init.scope", Docker, "{A}"),
        ("/system.slice/docker-{A}.scope", Docker, "{A}"),
        ("/system.slice/docker-{A}.scope (deleted)", Docker, "{A}"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope", Docker, "{A}"),
        ("/docker/{A}/docker/{B}", Docker, "{B}"),
        ("/docker/{A}/system.slice/docker-{B}.scope/app", Docker, "{B}"),
        ("/system.slice/docker-{A}.scope/docker/{B}", Docker, "{B}"),
        ("/system.slice/docker.service/docker/{A}", Docker, "{A}"),
        ("/ecstasks.slice/ecstasks-{S}.slice/docker-{A}.scope", Docker, "{A}"),
        ("/../../docker-{A}.scope", Docker, "{A}"),
        ("/k8s.io/{A}", Containerd, "{A}"),
        ("/user.slice/user-1000.slice/user@1000.service/user.slice/nerdctl-{A}.scope", Containerd, "{A}"),
        ("/machine.slice/libpod-{A}.scope", Podman, "{A}"),
        ("/machine.slice/libpod-{A}.scope/container", Podman, "{A}"),
        ("/machine.slice/machine-libpod_pod_{B}.slice/libpod-{A}.scope/container", Podman, "{A}"),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/container",
            Podman,
            "{A}",
        ),
        ("/system.slice/web.service/libpod-payload-{A}", Podman, "{A}"),
        ("/libpod_parent/libpod-{A}", Podman, "{A}"),
        ("/lxc.payload.web-1", Lxc, "web-1"),
        ("/lxc.payload.web-1/system.slice/nginx.service", Lxc, "web-1"),
        ("/lxc.payload/web-1", Lxc, "web-1"),
        ("/lxc/101/ns/system.slice/ssh.service", Lxc, "101"),
        ("/user.slice/user-1000.slice/session-2.scope/lxc.payload.mine", Lxc, "mine"),
        ("/lxc.payload.ci/system.slice/docker-{A}.scope", Docker, "{A}"),
        ("/machine.slice/machine-web.scope", Nspawn, "web"),
        ("/machine.slice/machine-web\\x2d1.scope/payload/system.slice/nginx.service", Nspawn, "web-1"),
        ("/machine.slice/systemd-nspawn@web.service/payload", Nspawn, "web"),
        ("/machine.slice/machine-qemu\\x2dbuilder.scope/payload", Nspawn, "qemu-builder"),
        ("/docker/{A}/kubelet/kubepods/burstable/pod{U}", Docker, "{A}"),
        ("/ecs/{S}/{A}", Ecs, "{A}"),
        ("/ecs/cluster/{U}/{A}", Ecs, "{A}"),
        ("/ecs/{S}/{S}-2531612879", Ecs, "{S}-2531612879"),
        (
            "/system.slice/garden.service/garden/3f1b2c5e-6d7a-4f6b-5d0c-8d9e",
            Garden,
            "3f1b2c5e-6d7a-4f6b-5d0c-8d9e",
        ),
        ("/garden/{U}", Garden, "{U}"),
    ] {
        assert_eq!(found(pattern), Some((runtime, fill(id), None)), "{pattern}");
    }
}

#[test]
fn containers_in_kubernetes_pods() {
    use Runtime::{Containerd, CriO, Docker, Kubernetes};
    for (pattern, runtime, uid) in [
        ("/kubepods/burstable/pod{U}/{A}", Kubernetes, UID),
        ("/kubepods/pod{U}/{A}", Kubernetes, UID),
        ("/kubepods/besteffort/pod{S}/{A}", Kubernetes, STATIC_UID),
        ("/kubepods/burstable/pod{U}/crio-{A}", CriO, UID),
        ("/kubepods.slice/kubepods-pod{u}.slice/crio-{A}.scope", CriO, UID),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice/crio-{A}.scope/container",
            CriO,
            UID,
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u}.slice/docker-{A}.scope",
            Docker,
            UID,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice/cri-containerd-{A}.scope",
            Containerd,
            UID,
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{S}.slice/cri-containerd-{A}.scope",
            Containerd,
            STATIC_UID,
        ),
        (
            "/system.slice/containerd.service/kubepods-burstable-pod{u}.slice:cri-containerd:{A}",
            Containerd,
            UID,
        ),
        ("/docker/{B}/kubelet/kubepods/burstable/pod{U}/{A}", Kubernetes, UID),
        (
            "/docker/{B}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod{u}.slice/cri-containerd-{A}.scope",
            Containerd,
            UID,
        ),
    ] {
        assert_eq!(found(pattern), Some((runtime, A.to_owned(), Some(uid.to_owned()))), "{pattern}");
    }
}

#[test]
fn what_only_looks_like_a_container_is_none() {
    let upper = A.to_uppercase();
    for pattern in [
        "",
        "/",
        "//",
        "/init.scope",
        "/user.slice/user-1000.slice/session-3.scope",
        "/system.slice/nginx.service",
        "/{A}",
        "/user.slice/{A}",
        "/home/docker/{A}",
        "/user.slice/user-1000.slice/session-3.scope/docker/{A}",
        "/builds/k8s.io/{A}",
        "/system.slice/{A}.scope",
        "/docker/short",
        "/docker/{A}0",
        "/system.slice/docker-{A}",
        "/system.slice/mydocker-{A}.scope",
        "/system.slice/docker-{A}.slice",
        "/machine.slice/libpod-conmon-{A}.scope",
        "/libpod_parent/conmon",
        "/kubepods.slice/kubepods-pod{u}.slice/crio-conmon-{A}.scope",
        "/kubepods.slice/kubepods-pod{u}.slice",
        "/kubepods/burstable/podcast/{A}",
        "/kubepods/burstable/pod{U}",
        "/user.slice/evil-pod{u}.slice/{A}",
        "/lxc.monitor.web-1",
        "/lxc",
        "/lxc.payload.",
        "/lxc.payload.a b",
        "/srv/lxc/web",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator",
        "/machine.slice/machine-.scope",
        "/machine.slice/machine-web.scope/supervisor",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        "/machine.slice/systemd-nspawn@web.service",
        "/elsewhere/machine-web.scope",
        "/ecs/{A}",
        "/ecs/{S}/x-1",
        "/garden/beds",
        "/garden/-----",
        ":::",
        "/a:docker:x",
        "/../../..",
    ] {
        assert_eq!(found(pattern), None, "{pattern}");
    }
    assert_eq!(container_of(&format!("/docker/{upper}")), None);
}

#[test]
fn hostile_paths_do_no_harm() {
    let forms = [
        "/docker/{A}",
        "/system.slice/docker-{A}.scope",
        "/kubepods-burstable-pod{u}.slice:cri-containerd:{A}",
        "/machine.slice/machine-web\\x2d1.scope",
        "/lxc.payload.web",
        "/ecs/{S}/{S}-17",
    ];
    for form in forms.map(fill) {
        for at in (0..=form.len()).filter(|at| form.is_char_boundary(*at)) {
            for put in ["é", "\\x", "\\xff", "\\x1b", "\0", ":", "/", "-", "\u{202e}"] {
                let path = format!("{}{put}{}", &form[..at], &form[at..]);
                let container = container_of(&path);
                let calm = |text: &str| !text.chars().any(char::is_control);
                assert!(
                    path.contains('\0') || container.is_none_or(|c| calm(&c.id) && calm(&c.short)),
                    "{path:?}"
                );
            }
            container_of(&form[..at]);
        }
    }
    assert_eq!(container_of(&"/docker".repeat(5000)), None);
}

#[test]
fn runtimes_have_the_names_that_people_type() {
    assert_eq!(Runtime::CriO.to_string(), "cri-o");
    assert_eq!(format!("{:>8}", Runtime::Docker), "  docker");
}
