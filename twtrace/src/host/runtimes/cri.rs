//! Owns: what a runtime says of a container over Kubernetes' Container Runtime Interface, v1.
//! Must not know: sockets.
//!
//! Of its messages only those fields stand here that are read; their numbers are the interface's (`runtime/v1/api.proto` of cri-api).

use std::collections::HashMap;

use hyper::header::HeaderMap;
use prost::Message;

use crate::host::wire::{Call, Channel};
use crate::model::identity::Names;

/// Labels that the kubelet puts on containers.
pub(super) const POD: &str = "io.kubernetes.pod.name";
/// See [`POD`].
pub(super) const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(message, optional, tag = "2")]
    metadata: Option<Metadata>,
    #[prost(message, optional, tag = "8")]
    image: Option<Image>,
    #[prost(map = "string, string", tag = "12")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(string, tag = "1")]
    image: String,
    /// As whoever started it named it, where the runtime says so.
    #[prost(string, tag = "18")]
    user_specified_image: String,
}

/// The names of the container with this id.
pub(super) async fn names(channel: &mut Channel, id: &str) -> Option<Names> {
    let message = StatusRequest { container_id: id.to_owned() }.encode_to_vec();
    let path = "/runtime.v1.RuntimeService/ContainerStatus";
    let call = Call { path, headers: HeaderMap::new(), message: &message };
    let StatusResponse { status } = call.make(channel).await.ok()?;
    let mut status = status?;
    let image = status.image.map(|image| {
        if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image }
    });
    Some(Names {
        name: status.metadata.map(|metadata| metadata.name),
        image,
        pod: status.labels.remove(POD),
        pod_namespace: status.labels.remove(POD_NAMESPACE),
    })
}
