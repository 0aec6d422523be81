//! Owns: what Docker's API says of a container, which Podman speaks as well.
//! Must not know: sockets.

use std::collections::HashMap;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::cri::{POD, POD_NAMESPACE};
use crate::host::wire::Channel;
use crate::model::identity::Names;

/// The parts of an answer that are read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    name: Option<String>,
    config: Option<Config>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    image: Option<String>,
    labels: Option<HashMap<String, String>>,
}

/// The names of the container with this id, which has hexadecimal digits only.
pub(super) async fn names(channel: &mut Channel, id: &str) -> Option<Names> {
    let path = format!("/containers/{id}/json");
    let answer = channel.ask(Method::GET, &path, HeaderMap::new(), Bytes::new()).await.ok()?;
    if answer.status != StatusCode::OK {
        return None;
    }
    read(&answer.body)
}

fn read(body: &[u8]) -> Option<Names> {
    let Inspected { name, config } = serde_json::from_slice(body).ok()?;
    let Config { image, labels } = config?;
    let mut labels = labels.unwrap_or_default();
    // The API puts a slash in front.
    let name = name.map(|name| name.trim_start_matches('/').to_owned());
    Some(Names { name, image, pod: labels.remove(POD), pod_namespace: labels.remove(POD_NAMESPACE) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_anything_else_is_not() {
        let body = br#"{"Id":"0123","Name":"/shop-web-1","Image":"sha256:17","Config":{"Image":"nginx:1.29",
            "Labels":{"io.kubernetes.pod.name":"web-17","io.kubernetes.pod.namespace":"shop"}},"More":[1]}"#;
        let some = |text: &str| Some(text.to_owned());
        let want = Names {
            name: some("shop-web-1"),
            image: some("nginx:1.29"),
            pod: some("web-17"),
            pod_namespace: some("shop"),
        };
        assert_eq!(read(body), Some(want));
        assert_eq!(read(br#"{"Config":{"Labels":null}}"#), Some(Names::default()));
        for body in [&b""[..], b"{}", b"[]", b"{\"Config\":{\"Image\":17}}", b"\xff"] {
            assert_eq!(read(body), None, "{body:?}");
        }
    }
}
