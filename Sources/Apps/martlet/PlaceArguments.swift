import MartletSockets

/// Where `martlet tcp|udp …` connects, sends or listens, as typed: `HOST:PORT`, `HOST PORT`, `--host` and `--port`, `unix:PATH`, `unix:@NAME`.
extension Place {
    static let options: [Command.Option] = [
        .one("--host", value: "HOST", about: "name or address (default: 127.0.0.1)"),
        .one("--port", value: "PORT", about: "port (default: 65432)"),
    ]

    /// The words and `--host`, `--port` of a command; the course's place stands for what is not said. Port 0 only where one listens.
    init(_ arguments: Arguments, of command: String, listens: Bool = false) throws(CommandFailure) {
        let least: UInt16 = listens ? 0 : 1
        let port = try arguments.integer("--port", in: Int(least)...65_535).map { UInt16($0) }
        let host = arguments.text("--host")
        let words = arguments.words
        guard !words.isEmpty else {
            self = .internet(host: host ?? "127.0.0.1", port: port ?? 65_432)
            return
        }
        if words.count > 2 { throw .usage("\(command): unexpected \"\(words[2])\": say one place, HOST:PORT") }
        if host != nil || port != nil { throw .usage("\(command): \(words.joined(separator: " ")) says the place: leave out --host and --port") }
        guard let place = words.count == 1 ? Place(typed: words[0]) : Place(host: words[0], port: words[1]), place.isComplete(least) else {
            throw .usage("\(command): \(words.joined(separator: " ")): say HOST:PORT with a port from \(least) to 65535, [::1]:PORT, or unix:PATH")
        }
        self = place
    }

    private init?(host: String, port: String) {
        guard let number = UInt16(port) else { return nil }
        self = .internet(host: host, port: number)
    }

    /// `HOST:PORT`, `[ADDRESS]:PORT`, also with `tcp://` or `udp://` before it and a slash after it, or `unix:PATH`.
    init?(typed text: String) {
        var text = Substring(text)
        for scheme in ["tcp://", "udp://", "unix://", "unix:"] where text.hasPrefix(scheme) {
            text = text.dropFirst(scheme.count)
            if scheme.hasPrefix("unix") {
                self = .unix(String(text))
                return
            }
            if text.hasSuffix("/") { text = text.dropLast() }
        }
        do throws(NetError) { try self.init(String(text)) } catch { return nil }
    }

    private func isComplete(_ least: UInt16) -> Bool {
        switch self {
        case .internet(let host, let port): !host.isEmpty && port >= least
        case .unix(let path): !path.isEmpty && path != "@"
        }
    }
}

extension Arguments {
    /// Seconds as people type them, with a fraction if they like; at most a day.
    func seconds(_ name: String) throws(CommandFailure) -> Double? {
        guard let text = text(name) else { return nil }
        guard let seconds = Double(text), seconds >= 0, seconds <= 86_400 else { throw .usage("\(name) \(text): seconds from 0 to 86400") }
        return seconds
    }
}
