import MartletBytes
import MartletEventLoop
public import MartletNet

/// Non-blocking I/O without being told who is ready: every client is asked, round after round, whether it has something or takes something.
/// There to be compared: it turns at full speed when nobody speaks, and every client that is silent makes all others later.
extension Service where Machine: ~Copyable {
    /// Serves on the calling thread until `stop`, and keeps one processor busy meanwhile.
    public func servePolling(on socket: BoundSocket, _ options: ServeOptions = ServeOptions(), until stop: ServerStop) {
        let listener = AcceptingSocket(socket, blocks: false)
        var clients: [PolledClient<Machine>] = []
        var area = ByteBuffer()
        while !stop.isStopped {
            while case let client = listener.accept(), client.descriptor >= 0 {
                clients.append(PolledClient(client.descriptor, client.peer, Conversation(self), options))
            }
            var index = 0
            while index < clients.count {
                if clients[index].turn(&area) {
                    index += 1
                } else {
                    clients.swapAt(index, clients.count - 1)
                    clients.removeLast()
                }
            }
        }
        for client in clients { client.stop() }
    }
}

/// One client of `servePolling`: whatever it is asked, it answers at once.
private final class PolledClient<Machine: ProtocolMachine & ~Copyable> {
    private let socket: StreamSocket
    private let peer: SocketAddress
    private let options: ServeOptions
    private var conversation: Conversation<Machine>
    /// When it is cut off: it takes nothing, or does not end although we have.
    private var latest = Instant.never
    private var hasFinished = false

    init(_ descriptor: Int32, _ peer: SocketAddress, _ conversation: consuming Conversation<Machine>, _ options: ServeOptions) {
        socket = StreamSocket(adopting: descriptor)
        self.peer = peer
        self.conversation = conversation
        self.options = options
        options.clientChanged?(peer, nil)
    }

    /// Writes what goes, reads what is there, writes what that led to. False: it is gone.
    func turn(_ area: inout ByteBuffer) -> Bool {
        var left: CloseReason?
        if !conversation.output.isEmpty { left = write() }
        if left == nil, conversation.ending == nil, conversation.output.count < outputHighWater { left = read(&area) }
        if left == nil, let ending = conversation.ending, conversation.output.isEmpty { left = finish(ending, &area) }
        if left == nil, latest != .never, latest < .current { left = .failed(timedOut) }
        guard let left else { return true }
        options.clientChanged?(peer, left)
        return false
    }

    private func read(_ area: inout ByteBuffer) -> CloseReason? {
        let count = socket.read(into: &area, atMost: readSize)
        if count == -tryAgain {  // nothing yet: next
            if conversation.deadline != .never, conversation.deadline <= .current { conversation.wake() }
            return nil
        }
        if count < 0 { return .failed(Int32(-count)) }
        if count == 0 { conversation.receiveEnd() } else { conversation.receive(area.span) }
        area.removeAll()
        return conversation.output.isEmpty ? nil : write()
    }

    private func write() -> CloseReason? {
        let count = socket.write(conversation.output.span)
        if count > 0 {
            conversation.output.consume(count)
            latest = .never
        } else if count != -tryAgain {
            return .failed(Int32(-count))
        }
        if !conversation.output.isEmpty, latest == .never { latest = .current + options.stallTimeout }
        return nil
    }

    /// All is written: gone if the peer has ended too, else it may take a moment to do so.
    private func finish(_ ending: CloseReason, _ area: inout ByteBuffer) -> CloseReason? {
        if ending == .ended { return ending }
        if !hasFinished {
            hasFinished = true
            socket.finishWriting()
            latest = .current + options.linger
        }
        let count = socket.read(into: &area, atMost: readSize)
        area.removeAll()
        return count == 0 || count < 0 && count != -tryAgain || latest < .current ? ending : nil
    }

    func stop() { options.clientChanged?(peer, conversation.ending ?? .stopping) }
}
