//! Owns: asking a container runtime at its socket, by Kubernetes' Container Runtime Interface, v1: messages, and calls by way of curl.
//! Must not know: which runtime it is, what becomes of its pods.
//!
//! Of the messages only those fields are here that are wanted; their numbers are the interface's (`runtime/v1/api.proto` of cri-api).

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use twtrace_kit::command::feed;

/// How long an answer may take, in seconds: a runtime that starts a pod unpacks files first.
const PATIENCE_S: &str = "60";

/// A message as protobuf has it on the wire: fields one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// With one more field of this number.
    pub(crate) fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    /// As [`Self::number`], a text.
    pub(crate) fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    /// As [`Self::number`], a message.
    pub(crate) fn part(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    /// As [`Self::number`], texts by names.
    pub(crate) fn map(self, field: u32, pairs: &[(&str, &str)]) -> Self {
        let part = |all: Self, (key, value): &(&str, &str)| {
            all.part(field, &Self::default().text(1, key).text(2, value))
        };
        pairs.iter().fold(self, part)
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    /// Its first field, of number 1, where that is a text or a message: all that answers are asked for.
    pub(crate) fn first(&self) -> Option<&[u8]> {
        let (mut length, mut at) = (0_usize, 1);
        (self.0.first() == Some(&(1 << 3 | 2))).then_some(())?;
        for shift in (0..28).step_by(7) {
            let byte = *self.0.get(at)?;
            length |= usize::from(byte & 0x7f) << shift;
            at += 1;
            if byte < 0x80 {
                return self.0.get(at..at.checked_add(length)?);
            }
        }
        None
    }
}

/// A pod that its host's network is good enough for, as the kubelet asks for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pod<'a> {
    /// Its name.
    pub name: &'a str,
    /// The namespace of Kubernetes that it is in.
    pub namespace: &'a str,
    /// Its uid.
    pub uid: &'a str,
    /// The cgroup that its containers go into; where it is empty, that is for the runtime to say.
    pub cgroup: &'a str,
}

impl Pod<'_> {
    /// `PodSandboxConfig`.
    fn message(&self) -> Message {
        // Network of the host (NODE), processes apart (CONTAINER).
        let namespaces = Message::default().number(1, 2).number(2, 1);
        let linux = Message::default().text(1, self.cgroup).part(2, &Message::default().part(1, &namespaces));
        let metadata = Message::default().text(1, self.name).text(2, self.uid).text(3, self.namespace);
        Message::default().part(1, &metadata).map(6, &self.labels()).part(8, &linux)
    }

    /// What the kubelet puts on a pod and on its containers.
    fn labels(&self) -> [(&str, &str); 3] {
        [
            ("io.kubernetes.pod.name", self.name),
            ("io.kubernetes.pod.namespace", self.namespace),
            ("io.kubernetes.pod.uid", self.uid),
        ]
    }
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct Cri {
    socket: PathBuf,
}

impl Cri {
    /// At this socket.
    pub(crate) fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Whether somebody answers.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.exists() && self.call("RuntimeService/Version", &Message::default()).is_ok()
    }

    /// Whether it has the image.
    pub(crate) fn has_image(&self, image: &str) -> Result<bool> {
        let request = Message::default().part(1, &Message::default().text(1, image));
        Ok(self.call("ImageService/ImageStatus", &request)?.first().is_some())
    }

    /// Starts a pod; its id.
    pub(crate) fn run_pod(&self, pod: &Pod<'_>) -> Result<String> {
        self.id("RuntimeService/RunPodSandbox", &Message::default().part(1, &pod.message()))
    }

    /// Makes a container called `name` of a pod that runs, and starts it; its id.
    pub(crate) fn run(
        &self,
        pod: &Pod<'_>,
        pod_id: &str,
        name: &str,
        image: &str,
        program: &[&str],
    ) -> Result<String> {
        let image = Message::default().text(1, image);
        let config = Message::default().part(1, &Message::default().text(1, name)).part(2, &image);
        let config = program.iter().fold(config, |config, word| config.text(3, word));
        let labels = [("io.kubernetes.container.name", name)];
        let config = config.map(9, &labels).map(9, &pod.labels());
        let request = Message::default().text(1, pod_id).part(2, &config).part(3, &pod.message());
        let id = self.id("RuntimeService/CreateContainer", &request)?;
        self.call("RuntimeService/StartContainer", &Message::default().text(1, &id))?;
        Ok(id)
    }

    /// Ends a pod and its containers, and leaves nothing of them.
    pub(crate) fn remove_pod(&self, id: &str) -> Result<()> {
        let request = Message::default().text(1, id);
        self.call("RuntimeService/StopPodSandbox", &request)?;
        self.call("RuntimeService/RemovePodSandbox", &request).map(drop)
    }

    fn id(&self, method: &str, request: &Message) -> Result<String> {
        let answer = self.call(method, request)?;
        let id = answer.first().with_context(|| format!("{method}: no id"))?;
        Ok(String::from_utf8(id.to_vec())?)
    }

    /// A unary call of gRPC: a byte of zero and the length before each message, a status after it (gRPC over HTTP/2).
    fn call(&self, method: &str, request: &Message) -> Result<Message> {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", PATIENCE_S]);
        curl.args(["--header", "content-type: application/grpc", "--header", "te: trailers"]);
        curl.args(["--data-binary", "@-", "--dump-header", "/dev/stderr", "--unix-socket"]).arg(&self.socket);
        curl.arg(format!("http://localhost/runtime.v1.{method}"));
        let done = feed(&mut curl, &framed(&request.0))?;
        let heads = String::from_utf8_lossy(&done.stderr);
        let status = heads.lines().find_map(|line| line.strip_prefix("grpc-status: "));
        ensure!(done.status.success() && status == Some("0"), "{method}: {}: {heads}", done.status);
        let message = done.stdout.get(5..).unwrap_or_default();
        ensure!(done.stdout == framed(message), "{method}: {} bytes are no message", done.stdout.len());
        Ok(Message(message.to_vec()))
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_protobuf_has_them() {
        let message = Message::default().number(2, 300).text(1, "ab").map(9, &[("k", "v")]);
        assert_eq!(message.0, b"\x10\xac\x02\x0a\x02ab\x4a\x06\x0a\x01k\x12\x01v");
        let long = Message::default().text(1, &"x".repeat(300)).number(2, 1);
        assert_eq!(long.first(), Some("x".repeat(300).as_bytes()));
        assert_eq!(Message::default().number(1, 1).first(), None);
        assert_eq!(Message(b"\x0a\x03ab".to_vec()).first(), None);
    }
}
