import MartletBytes
import MartletEventLoop
public import MartletNet

/// A thread for each client: each waits in `recv` as `serveBlocking` does, and only for its own.
extension Service where Machine: ~Copyable {
    /// Accepts on the calling thread until `stop`, and returns when the last client's thread has told its end.
    /// Where the system gives no more threads, the client is refused (`clientChanged` says so) and the server goes on.
    ///
    /// The threads are the system's, not Swift's: a task that waits in `recv` would keep one of the cooperative pool's few threads from all others.
    public func serveThreads(on socket: BoundSocket, _ options: ServeOptions = ServeOptions(), until stop: ServerStop) {
        let listener = AcceptingSocket(socket, blocks: true)
        stop.enter(listener.descriptor)
        while let client = listener.nextClient(until: stop) {
            // Counted before its thread runs, so that none is forgotten at the end.
            stop.enter(client.descriptor)
            let error = DetachedThread.start(stackSize: options.stackSize) { serve(client.descriptor, client.peer, options, stop) }
            if error != 0 {
                stop.leave(client.descriptor)
                _ = StreamSocket(adopting: client.descriptor)
                options.clientChanged?(client.peer, .refused("the system gives no more threads: \(stop.openCount - 1) clients have one"))
            }
        }
        stop.leave(listener.descriptor)
        while stop.openCount > 0 { DetachedThread.sleep(.milliseconds(1)) }
    }
}
