// Two peers without a server between them: whoever comes first waits, the second finds it. From then on they are equal: each says what it has
// to say, and hears the other out. Start it twice.
import ExampleArguments
import MartletSockets

@Sendable func talk(with peer: TCPConnection) async throws {
    print("Peer: \(peer.peer)")
    try await peer.write("Hello, \(peer.peer)\n")
    try await peer.finishWriting()
    for try await line in peer.inbound.lines() { print(line) }
}
do {
    try await TCP.withConnection(to: Arguments.place, talk)
} catch let error as NetError where error.kind == .refused {
    try await TCP.listen(on: Arguments.place, talk)
}
