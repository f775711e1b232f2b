// The client to it: says one thing, and prints what comes back.
import ExampleArguments
import MartletSockets

var server = try Blocking.TCP.connect(to: Arguments.place)
try server.write("Hello, world")
print("Received echo: \(String(decoding: try server.read() ?? [], as: UTF8.self))")
