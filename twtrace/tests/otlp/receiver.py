"""An OTLP receiver by the official protocol definitions: what it takes goes to stdout, a JSON object a line.

It refuses the first requests of each transport as an endpoint does that is too busy: by gRPC with both of the statuses that there are for it.
With a certificate, gRPC is by TLS.
"""

import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2_grpc as logs_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc

REFUSED = int(sys.argv[1])
lock = threading.Lock()
refusals = {"grpc": REFUSED, "http": REFUSED}


def say(**what):
    with lock:
        print(json.dumps(what), flush=True)


def refuses(transport):
    """How many more refusals there will be, this one included; 0 where it is none."""
    with lock:
        left = refusals[transport]
        refusals[transport] = max(left - 1, 0)
        return left


def field(number, message):
    """A field of a message that has another one in it, shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(message)]) + message


def exhausted(context):
    """RESOURCE_EXHAUSTED with a RetryInfo; its definitions, and that of a status, are in a package of their own."""
    info = field(1, Duration(nanos=20_000_000).SerializeToString())
    detail = Any(type_url="type.googleapis.com/google.rpc.RetryInfo", value=info)
    context.set_trailing_metadata([("grpc-status-details-bin", field(3, detail.SerializeToString()))])
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too much")


class Service:
    def __init__(self, signal, answer):
        self.signal, self.answer = signal, answer

    def Export(self, request, context):
        refused = refuses("grpc")
        if refused == 1:
            exhausted(context)
        if refused:
            context.abort(grpc.StatusCode.UNAVAILABLE, "too busy")
        headers = dict(context.invocation_metadata())
        say(transport="grpc", signal=self.signal, token=headers.get("x-token"), data=MessageToDict(request))
        return self.answer()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    messages = {
        "/v1/metrics": ("metrics", metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
        "/v1/logs": ("logs", logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
    }

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path not in self.messages or self.headers["content-type"] != "application/x-protobuf":
            return self.respond(404, b"")
        if refuses("http"):
            return self.respond(503, b"")
        signal, question, answer = self.messages[self.path]
        request = question.FromString(body)
        say(transport="http", signal=signal, token=self.headers["x-token"], data=MessageToDict(request))
        self.respond(200, answer().SerializeToString())

    def respond(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
metrics_grpc.add_MetricsServiceServicer_to_server(
    Service("metrics", metrics.ExportMetricsServiceResponse), server
)
logs_grpc.add_LogsServiceServicer_to_server(Service("logs", logs.ExportLogsServiceResponse), server)
if len(sys.argv) > 2:
    certificate, key = (open(name, "rb").read() for name in sys.argv[2:4])
    grpc_port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    grpc_port = server.add_insecure_port("127.0.0.1:0")
server.start()
http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=http.serve_forever, daemon=True).start()
say(grpc=grpc_port, http=http.server_address[1])
# It ends with whoever started it.
sys.stdin.read()
