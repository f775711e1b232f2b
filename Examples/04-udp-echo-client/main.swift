// The client to it: sends one datagram, and prints what comes back.
import ExampleArguments
import MartletSockets

let socket = try Blocking.UDP.connect(to: Arguments.place)
try socket.send("Hello, UDP!")
let (data, from) = try socket.receive()
print("Received echo: \(String(decoding: data, as: UTF8.self)) from \(from)")
