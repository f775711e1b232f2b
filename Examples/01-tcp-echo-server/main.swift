// A TCP echo server as plain as can be: it waits for one client, serves it, and ends. Every call blocks.
import ExampleArguments
import MartletSockets

let server = try Blocking.TCP.listen(on: Arguments.place)
print("TCP server listening on \(server.address)")
var client = try server.accept()
print("Connected by \(client.peer)")
while let data = try client.read() {  // nil: the client ended
    print("Received: \(String(decoding: data, as: UTF8.self))")
    try client.write(data)
}
