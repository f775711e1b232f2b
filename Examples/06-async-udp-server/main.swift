// A UDP echo server on an event loop: while it waits, other tasks of the program go on.
import ExampleArguments
import MartletSockets

print("Starting UDP server on \(Arguments.place)")
try await UDP.bind(on: Arguments.place, ready: { _ in print("UDP server started") }) { socket in
    for try await (data, from) in socket {
        print("Received \(String(decoding: data, as: UTF8.self)) from \(from)")
        try await socket.send(data, to: from)
    }
}
