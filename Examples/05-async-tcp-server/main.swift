// A TCP echo server for thousands of clients at once: a child task for each, all on one thread. Waiting for one holds up none.
import ExampleArguments
import MartletSockets

try await TCP.listen(on: Arguments.place, ready: { print("Serving on \($0)") }) { client in
    print("Connected by \(client.peer)")
    defer { print("Closing connection with \(client.peer)") }
    for try await data in client.inbound {
        print("Received from \(client.peer): \(String(decoding: data, as: UTF8.self))")
        try await client.write(data)
    }
}
