internal import MartletBytes
internal import MartletEventLoop
internal import MartletLogging
internal import MartletSockets

/// Connections that go on in another protocol.
extension HTTPServerChannel {
    /// The response that accepts; or another, if it cannot be.
    func beginTunnel(_ response: HTTPResponse, _ name: String?, to request: HTTPRequest, on loop: EventLoop) throws(HTTPMisuse) -> HTTPResponse? {
        if home.server.isStopping { return HTTPFailure(.serviceUnavailable, "the server is ending").response }
        if machine.value.isReading { return HTTPFailure.badRequest("content that was not read stands before the other protocol").response }
        home.beginLines()
        if let name {
            var fields = HTTPFields()
            do throws(HTTPFieldRefusal) {
                guard request.offers(name) else { return try HTTPFailure.upgradeRequired(name).response }
                try fields.set("Upgrade", to: name)
            } catch { throw .fieldsInvalid }
            fields.appendLines(to: &home.lines.value)
        } else if request.method != .connect {
            return HTTPFailure.badRequest("a tunnel is for CONNECT").response
        }
        response.fields.appendLines(to: &home.lines.value)
        try Self.accept(&machine.value, response.status, home.lines.value, into: &loop[output: slot])
        home.seen.value.count(response.status)
        return nil
    }

    private static func accept(
        _ machine: inout HTTPServerMachine, _ status: HTTPStatus, _ lines: borrowing ByteBuffer, into output: inout ByteBuffer
    ) throws(HTTPMisuse) {
        try machine.accept(status.rawValue, fields: lines.span, into: &output)
    }

    /// In a worker's task: the connection in the other protocol, to its end.
    func run(_ tunnel: HTTPTunnel.Body, _ request: HTTPRequest, by worker: HTTPWorker) async {
        guard let connection = await leaveLoop() else { return }
        home.tunnels[request.number] = HTTPServerTunnel {
            worker.cancel()
            connection.abort()
        }
        do { try await connection.run { try await tunnel(HTTPTunnel($0)) } } catch {
            home.server.options.logger.debug("\(request.methodName) \(request.target) in another protocol: \(error)", metadata: ["request": request.id])
        }
        home.tunnels[request.number] = nil
        home.left()
    }

    /// The connection as one that tasks read and write; nil if it has ended.
    private func leaveLoop() async -> StreamConnection? {
        let given = Once<StreamConnection?>(), owner = TaskMark.current, bound = LoopBound(self, on: home.loop)
        // The loop may be in the middle of a call of this.
        home.loop.execute { given.resume(returning: bound().take(owner, on: $0)) }
        return await given.wait()
    }

    private func take(_ owner: TaskMark?, on loop: EventLoop) -> StreamConnection? {
        guard slot != 0, closeReason == nil, let peer = connection?.peer else { return nil }
        connection = nil
        if let taken = StreamConnection.take(loop.surrender(self), peer: peer, options: home.server.options.stream, owner: owner, on: loop) { return taken }
        home.left()
        return nil
    }
}

/// A connection in another protocol: how its server ends it.
struct HTTPServerTunnel {
    let end: () -> Void
}
