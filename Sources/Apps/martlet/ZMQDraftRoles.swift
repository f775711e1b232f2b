import MartletLogging
import MartletZMQ

/// `martlet zmq stream|client|server|radio|dish`: what these roles do, between stdin and stdout.
extension ZMQRun {
    // MARK: STREAM

    /// A peer is called by its routing id in hexadecimal. With `-m` that is sent to each who comes.
    static func stream(_ socket: ZMQSocket<ZMQStream>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        let greeting = options.text.map { Array($0.utf8) + [UInt8(ascii: "\n")] }
        try await both(options, stop) { line in
            let (name, text) = parted(line)
            guard let peer = bytes(hexadecimal: name) else { throw ZMQError.messageInvalid("a line begins with a peer's routing id and a tab") }
            // Nothing behind the peer ends its connection.
            try await socket.send(ZMQMessage(frames: [peer, text.map { $0 + [UInt8(ascii: "\n")] } ?? []]))
        } receiving: {
            var left = options.countMax ?? .max, known: Set<[UInt8]> = []
            while left > 0 {
                let message = try await socket.receive(), peer = message[0]
                var content = message[1]
                if content.isEmpty {
                    let comes = known.insert(peer).inserted
                    if !comes { known.remove(peer) }
                    StandardStream.error.write("\(hexadecimal(peer)) \(comes ? "has come" : "has gone")\n")
                    if comes, let greeting { try await socket.send(ZMQMessage(frames: [peer, greeting])) }
                    continue
                }
                while let last = content.last, last == UInt8(ascii: "\n") || last == UInt8(ascii: "\r") { content.removeLast() }
                guard write(Array(hexadecimal(peer).utf8), content) else { return }
                left -= 1
            }
        }
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func bytes(hexadecimal text: [UInt8]) -> [UInt8]? {
        guard text.count.isMultiple(of: 2), !text.isEmpty else { return nil }
        var bytes: [UInt8] = []
        for at in stride(from: 0, to: text.count, by: 2) {
            guard let byte = UInt8(String(decoding: text[at..<at + 2], as: UTF8.self), radix: 16) else { return nil }
            bytes.append(byte)
        }
        return bytes
    }

    // MARK: CLIENT and SERVER

    static func client(_ socket: ZMQSocket<ZMQClient>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        try await both(options, stop) { line in
            try await socket.send(line)
        } receiving: {
            try await print(socket, options)
        }
    }

    /// A client is called by its number. With `-m` that is the answer to all.
    static func server(_ socket: ZMQSocket<ZMQServer>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        try await both(options, stop) { line in
            let (name, text) = parted(line)
            guard let number = UInt32(String(decoding: name, as: UTF8.self)) else {
                throw ZMQError.messageInvalid("a line begins with a client's number and a tab")
            }
            try await socket.send(text ?? [], to: ZMQClientID(rawValue: number))
        } receiving: {
            for _ in 0..<(options.countMax ?? .max) {
                let message = try await socket.receive()
                guard write(Array("\(message.client)".utf8), message.body) else { return }
                if let answer = options.text { try await socket.send(answer, to: message.client) }
            }
        }
    }

    // MARK: RADIO and DISH

    static func radio(_ socket: ZMQSocket<ZMQRadio>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        let groups = try groups(options)
        try await waitForSubscriber(options) { socket.memberCount > 0 }
        try await lines(options, stop, count: options.countMax ?? 1) { line in for group in groups { try await socket.send(line, to: group) } }
    }

    static func dish(_ socket: ZMQSocket<ZMQDish>, _ options: ZMQOptions) async throws {
        for group in try groups(options) { socket.join(group) }
        for _ in 0..<(options.countMax ?? .max) {
            let message = try await socket.receive()
            guard write(message.group.bytes, message.body) else { return }
        }
    }

    private static func groups(_ options: ZMQOptions) throws(ZMQError) -> [ZMQGroup] {
        try options.topics.map { name throws(ZMQError) in try ZMQGroup(name) }
    }

    // MARK: Lines

    /// stdin's lines to `send`, and what comes meanwhile, until that ends or a signal comes.
    private static func both(
        _ options: ZMQOptions, _ stop: InputStop, sending send: ([UInt8]) async throws -> Void, receiving receive: @escaping @Sendable () async throws -> Void
    ) async throws {
        let receiving = Task.detached {
            defer { stop.signal() }
            try await receive()
        }
        try await withTaskCancellationHandler {
            if options.role == "client" || options.text == nil { try await lines(options, stop, count: options.countMax ?? 1, send) }
            try await receiving.value
        } onCancel: {
            receiving.cancel()
        }
    }

    /// `-m`, so often, or stdin's lines: each as it is.
    private static func lines(_ options: ZMQOptions, _ stop: InputStop, count: Int, _ use: ([UInt8]) async throws -> Void) async throws {
        guard let text = options.text else { return try await MessageSource.lines(of: InputFile.standardInput(until: stop), use) }
        for _ in 0..<count { try await use(Array(text.utf8)) }
    }

    /// What stands before the first tab, and behind it.
    private static func parted(_ line: [UInt8]) -> ([UInt8], [UInt8]?) {
        guard let tab = line.firstIndex(of: UInt8(ascii: "\t")) else { return (line, nil) }
        return (Array(line[..<tab]), Array(line[(tab + 1)...]))
    }

    /// False when nobody reads any more.
    private static func write(_ first: [UInt8], _ second: [UInt8]) -> Bool {
        let line = first + [UInt8(ascii: "\t")] + second + [UInt8(ascii: "\n")]
        return StandardStream.output.write(line.span)
    }
}
