import MartletBytes
import MartletEventLoop
public import MartletNet

/// Blocking I/O, one client after another: the thread waits in `recv` for the one it serves, and the others wait in the kernel's queue.
extension Service where Machine: ~Copyable {
    /// Serves on the calling thread until `stop`: a thread of the system's own, never a task's, as it waits without giving its thread back.
    public func serveBlocking(on socket: BoundSocket, _ options: ServeOptions = ServeOptions(), until stop: ServerStop) {
        let listener = AcceptingSocket(socket, blocks: true)
        stop.enter(listener.descriptor)
        while let client = listener.nextClient(until: stop) {
            serve(client.descriptor, client.peer, options, stop)
        }
        stop.leave(listener.descriptor)
    }

    /// One client from its first byte to its last.
    func serve(_ descriptor: Int32, _ peer: SocketAddress, _ options: ServeOptions, _ stop: ServerStop) {
        let socket = StreamSocket(adopting: descriptor)
        socket.setBlocking(true)
        socket.setWriteTimeout(options.stallTimeout)
        stop.enter(descriptor)
        options.clientChanged?(peer, nil)
        let reason = converse(over: socket, linger: options.linger)
        options.clientChanged?(peer, reason)
        // Behind the last word: who waits until nobody is left has heard all.
        stop.leave(descriptor)
    }

    private func converse(over socket: borrowing StreamSocket, linger: Duration) -> CloseReason {
        var conversation = Conversation(self)
        var area = ByteBuffer()
        while conversation.ending == nil {
            if conversation.deadline != .never, socket.wait(forWriting: false, until: conversation.deadline) == 0 {
                conversation.wake()
            } else {
                let count = socket.read(into: &area, atMost: readSize)
                if count == 0 { conversation.receiveEnd() }
                if count > 0 { conversation.receive(area.span) }
                if count < 0, count != -interrupted { return .failed(Int32(-count)) }
                area.removeAll()
            }
            while !conversation.output.isEmpty {
                let count = socket.write(conversation.output.span)
                if count > 0 { conversation.output.consume(count) }
                if count < 0, count != -interrupted { return count == -tryAgain ? .failed(timedOut) : .failed(Int32(-count)) }
            }
        }
        if conversation.ending != .ended { socket.finish(until: .current + linger) }
        return conversation.ending ?? .ended
    }
}

extension StreamSocket {
    /// Ends our side and throws away what the peer still says until it has ended too: closing with bytes unread would reset the connection, and
    /// the last words with it.
    fileprivate func finish(until deadline: Instant) {
        finishWriting()
        var area = ByteBuffer()
        while wait(forWriting: false, until: deadline) > 0, read(into: &area, atMost: readSize) > 0 { area.removeAll() }
    }
}

extension AcceptingSocket {
    /// Waits for the next client; nil once the server stops.
    func nextClient(until stop: ServerStop) -> (descriptor: Int32, peer: SocketAddress)? {
        while !stop.isStopped {
            let client = accept()
            if client.descriptor >= 0 { return client }
            // Out of descriptors: one may be closed soon, and who waits keeps waiting in the kernel's queue.
            if isOutOfDescriptors(client.descriptor) { DetachedThread.sleep(.milliseconds(10)) }
        }
        return nil
    }
}

/// EINTR, EAGAIN, ETIMEDOUT; EMFILE and ENFILE.
let interrupted = 4, tryAgain = 11, timedOut: Int32 = 110
func isOutOfDescriptors(_ result: Int32) -> Bool { result == -24 || result == -23 }
