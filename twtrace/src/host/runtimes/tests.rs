//! Sockets that answer as runtimes do: a CRI whose messages were made with the official definitions of the interface, and Docker's API.

use std::convert::Infallible;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;

use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Messages in hexadecimal digits, by `runtime.v1` of cri-api: what is asked for, and an answer with all that a container can have.
const REQUEST: &str = "\
    0a40303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566303132333435\
    36373839616263646566";
const STATUS: &str = "\
    0a92020a40303132333435363738396162636465663031323334353637383961626364656630313233343536373839616263646566303132\
    3334353637383961626364656612070a0377656210021801209180a8b1e39fe7cb17289380a8b1e39fe7cb1742260a1c646f636b65722e69\
    6f2f6c6962726172792f6e67696e783a312e323912060a01611201624a097368613235363a31375201725a016d62230a1c696f2e6b756265\
    726e657465732e636f6e7461696e65722e6e616d65120377656262230a1b696f2e6b756265726e657465732e706f642e6e616d6573706163\
    65120473686f7062200a16696f2e6b756265726e657465732e706f642e6e616d6512067765622d31376a060a01781201797a022f6c12060a\
    016b120176";

const INSPECTED: &str = r#"{"Name":"/shop-db-1","Config":{"Image":"postgres:17","Labels":{}}}"#;

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn container(runtime: Runtime, id: &str) -> Container {
    Container { runtime, id: id.to_owned(), short: id.chars().take(12).collect(), pod_uid: None }
}

fn names(name: &str, image: &str, pod: Option<(&str, &str)>) -> Names {
    let some = |text: &str| Some(text.to_owned());
    let (pod, pod_namespace) = pod.map_or((None, None), |(pod, namespace)| (some(pod), some(namespace)));
    Names { name: some(name), image: some(image), pod, pod_namespace }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// Answers as a CRI does that knows one container.
async fn cri(request: Request<Incoming>) -> Result<Response<Frames>, Infallible> {
    assert_eq!(request.uri().path(), "/runtime.v1.RuntimeService/ContainerStatus");
    assert_eq!(request.headers()["content-type"], "application/grpc");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let is_known = body == framed(&bytes(REQUEST));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(if is_known { "0" } else { "5" }));
    let message = is_known.then(|| Ok(Frame::data(Bytes::from(framed(&bytes(STATUS))))));
    let frames = message.into_iter().chain([Ok(Frame::trailers(trailers))]);
    Ok(Response::new(Frames(frames.collect())))
}

/// Frames that are there already.
struct Frames(std::collections::VecDeque<Result<Frame<Bytes>, Infallible>>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front())
    }
}

/// Answers as Docker does that knows one container.
async fn docker(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_known = request.uri().path() == format!("/containers/{ID}/json");
    let mut answer = Response::new(Full::new(Bytes::from(if is_known { INSPECTED } else { "{}" })));
    *answer.status_mut() = if is_known { hyper::StatusCode::OK } else { hyper::StatusCode::NOT_FOUND };
    Ok(answer)
}

/// Listens at `path` for as long as the process runs.
fn listen(path: &Path, speaks: Option<Speaks>) {
    let (path, (ready, is_ready)) = (path.to_owned(), std::sync::mpsc::channel());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = UnixListener::bind(path).unwrap();
            ready.send(()).unwrap();
            loop {
                let stream = TokioIo::new(listener.accept().await.unwrap().0);
                // How a client ends it is of no interest; one that nobody answers waits in vain.
                match speaks {
                    Some(Speaks::Cri) => drop(
                        http2::Builder::new(TokioExecutor::new())
                            .serve_connection(stream, service_fn(cri))
                            .await,
                    ),
                    Some(Speaks::Docker) => {
                        drop(http1::Builder::new().serve_connection(stream, service_fn(docker)).await)
                    }
                    None => std::mem::forget(stream),
                }
            }
        });
    });
    is_ready.recv().unwrap();
}

/// The names once they are there.
fn await_names(naming: &Naming) -> Names {
    let began = Instant::now();
    loop {
        if let Some(names) = naming.get() {
            return names.clone();
        }
        assert!(began.elapsed() < Duration::from_secs(60), "no names came");
        // poll: names come from another thread, which tells nobody.
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_container_has_the_names_that_its_runtime_says() {
    for (speaks, want) in [
        (Speaks::Cri, names("web", "docker.io/library/nginx:1.29", Some(("web-17", "shop")))),
        (Speaks::Docker, names("shop-db-1", "postgres:17", None)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runtime.sock");
        listen(&path, Some(speaks));
        let mut runtimes = Runtimes::new(vec![path]);
        let known = runtimes.names(&container(Runtime::Kubernetes, ID), 1);
        assert_eq!(await_names(&known), want, "{speaks:?}");
        // It is known from now on.
        assert_eq!(runtimes.names(&container(Runtime::Kubernetes, ID), 2).get(), Some(&want));
        assert_eq!(runtimes.names(&container(Runtime::Lxc, "web"), 3).get(), None);
    }
}

#[test]
fn a_runtime_that_is_not_there_or_hangs_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let (hangs, late) = (dir.path().join("hangs.sock"), dir.path().join("late.sock"));
    listen(&hangs, None);
    let mut runtimes = Runtimes::new(vec![hangs]);
    let web = container(Runtime::Podman, ID);
    let began = Instant::now();
    let naming = runtimes.names(&web, 1);
    for n in 0..2 * WAITING as u64 {
        runtimes.names(&container(Runtime::Podman, &format!("{n:064x}")), 1);
    }
    assert!(naming.get().is_none() && began.elapsed() < PATIENCE);
    // One that comes later is asked then, and tells all who have met the container.
    let mut alone = Runtimes::new(vec![late.clone()]);
    let first = alone.names(&web, 1);
    assert_eq!(alone.names(&container(Runtime::Podman, "0123456789ab"), 1).get(), None);
    listen(&late, Some(Speaks::Docker));
    assert_eq!(alone.names(&web, AGAIN_NS).get(), None);
    alone.names(&web, 1 + AGAIN_NS);
    assert_eq!(await_names(&first), names("shop-db-1", "postgres:17", None));
}

#[test]
fn the_manifest_of_kubernetes_has_the_folder_of_a_socket_that_is_asked() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/kubernetes/twtrace.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let (.., socket) = SOCKETS.iter().find(|(runtime, ..)| *runtime == Runtime::Containerd).unwrap();
    let folder = Path::new(socket).parent().unwrap().display();
    assert!(manifest.contains(&format!("mountPath: {folder},")), "{folder}");
    // A mount of the socket itself leads nowhere once the runtime has made another one.
    assert!(!manifest.contains(".sock"));
}

#[test]
fn that_nobody_asks_for_names_any_more_is_said_once() {
    let (ask, _) = sync_channel(1);
    let thread = Thread::start("runtimes", || panic!("no such runtime")).unwrap();
    let mut runtimes = Runtimes { thread: Some((ask, thread)), ..Runtimes::new(Vec::new()) };
    let deadline = Instant::now() + Duration::from_secs(30);
    let checks = std::iter::repeat_with(|| runtimes.died()).take_while(|_| Instant::now() < deadline);
    let died = checks.flatten().next();
    assert_eq!(died, Some(Died { name: "runtimes", why: "no such runtime".to_owned() }));
    assert_eq!(runtimes.died(), None);
    runtimes.names(&container(Runtime::Docker, ID), 7);
    assert!(runtimes.thread.is_none(), "another one would die of the same");
}
