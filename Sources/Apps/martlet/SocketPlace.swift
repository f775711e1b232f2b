/// Where `martlet tcp|udp …` connects, sends or listens, as typed: `HOST:PORT`, `HOST PORT`, `--host` and `--port`, `unix:PATH`, `unix:@NAME`.
///
/// Not here: names are not resolved, files not looked for.
enum SocketPlace: Equatable, Sendable, CustomStringConvertible {
    case internet(host: String, port: UInt16)
    /// A path, or `@` and an abstract name.
    case unix(String)

    /// The course's.
    static let course = SocketPlace.internet(host: "127.0.0.1", port: 65_432)

    static let options: [Command.Option] = [
        .one("--host", value: "HOST", about: "name or address (default: 127.0.0.1)"),
        .one("--port", value: "PORT", about: "port (default: 65432)"),
    ]

    /// What libraries take as a place, and people read: "127.0.0.1:65432", "[::1]:80", "/run/x.sock", "@name".
    var description: String {
        switch self {
        case .internet(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): path
        }
    }

    /// The words and `--host`, `--port` of a command; the course's place stands for what is not said. Port 0 only where one listens.
    init(_ arguments: Arguments, of command: String, listens: Bool = false) throws(CommandFailure) {
        let ports = listens ? 0...65_535 : 1...65_535
        let port = try arguments.integer("--port", in: ports).map { UInt16($0) }
        let host = arguments.text("--host")
        let words = arguments.words
        switch words.count {
        case 0: self = .internet(host: host ?? "127.0.0.1", port: port ?? 65_432)
        case 1, 2:
            if host != nil || port != nil { throw .usage("\(command): \(words.joined(separator: " ")) says the place: leave out --host and --port") }
            guard let place = words.count == 1 ? SocketPlace(words[0], ports: ports) : SocketPlace(host: words[0], port: words[1], ports: ports) else {
                throw .usage(
                    "\(command): \(words.joined(separator: " ")): say HOST:PORT with a port from \(ports.lowerBound) to 65535, [::1]:PORT, or unix:PATH")
            }
            self = place
        default: throw .usage("\(command): unexpected \"\(words[2])\": say one place, HOST:PORT")
        }
    }

    private init?(host: String, port: String, ports: ClosedRange<Int>) {
        guard let number = Int(port), ports.contains(number), !host.isEmpty else { return nil }
        self = .internet(host: host, port: UInt16(number))
    }

    /// `HOST:PORT`, `[ADDRESS]:PORT`, `unix:PATH`, each also with `tcp://` or `udp://` before it and a slash after it.
    init?(_ text: String, ports: ClosedRange<Int> = 1...65_535) {
        if text.hasPrefix("unix:") {
            let path = text.dropFirst(text.hasPrefix("unix://") ? 7 : 5)
            guard !path.isEmpty, path != "@" else { return nil }
            self = .unix(String(path))
            return
        }
        var text = Substring(text)
        for scheme in ["tcp://", "udp://"] where text.hasPrefix(scheme) {
            text = text.dropFirst(scheme.count)
            if text.hasSuffix("/") { text = text.dropLast() }
        }
        guard let colon = text.lastIndex(of: ":") else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        self.init(host: String(host), port: String(text[text.index(after: colon)...]), ports: ports)
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
