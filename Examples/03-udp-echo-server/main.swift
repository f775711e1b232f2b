// A UDP echo server as plain as can be: each datagram goes back to whom it came from, an empty one ends it. Every call blocks.
import ExampleArguments
import MartletSockets

let socket = try Blocking.UDP.bind(on: Arguments.place)
print("UDP server listening on \(socket.local)")
while true {
    let (data, from) = try socket.receive()
    print("Received \(String(decoding: data, as: UTF8.self)) from \(from)")
    if data.isEmpty { break }
    try socket.send(data, to: from)
}
