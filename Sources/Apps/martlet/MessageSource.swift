import MartletLogging

/// Where the messages come from that `mqtt pub`, `mqtt rr` and `amqp publish` send.
enum MessageSource: Equatable, Sendable {
    case text(String)
    /// The whole file is one message.
    case file(path: String)
    /// All of stdin is one message.
    case standardInput
    /// Each line of stdin is one message.
    case lines
    /// One message of no bytes.
    case empty

    /// Of exactly one of the flags that `command` has of these.
    init(_ arguments: Arguments, _ command: String, flags: [String] = ["-m", "-f", "-l", "-s", "-n"]) throws(CommandFailure) {
        var sources: [MessageSource] = []
        if let text = arguments.text("-m") { sources.append(.text(text)) }
        if let path = arguments.text("-f") { sources.append(.file(path: path)) }
        if arguments.has("-l") { sources.append(.lines) }
        if arguments.has("-s") { sources.append(.standardInput) }
        if flags.contains("-n"), arguments.has("-n") { sources.append(.empty) }
        guard let source = sources.first, sources.count == 1 else {
            let names = flags.map { ["-m": "-m TEXT", "-f": "-f FILE"][$0] ?? $0 }
            throw .usage("\(command): say exactly one of \(names.dropLast().joined(separator: ", ")) and \(names[names.count - 1])")
        }
        self = source
    }

    /// The one message; `nil` for lines.
    func payload(until stop: InputStop) throws(InputFailure) -> [UInt8]? {
        switch self {
        case .text(let text): Array(text.utf8)
        case .empty: []
        case .file(let path): try Self.whole(try InputFile(path: path))
        case .standardInput: try Self.whole(InputFile.standardInput(until: stop))
        case .lines: nil
        }
    }

    private static func whole(_ file: consuming InputFile) throws(InputFailure) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let chunk = try file.read(atMost: 1 << 16)
            if chunk.isEmpty { return all }
            all += chunk
        }
    }

    /// Calls `publish` with each line, without its end; the last one may lack it. An empty line is an empty message, as mosquitto_pub has it.
    static func lines(of file: consuming InputFile, _ publish: ([UInt8]) async throws -> Void) async throws {
        var cut: [UInt8] = []
        while true {
            let chunk = try file.read(atMost: 1 << 16)
            if chunk.isEmpty { break }
            var start = 0
            while let end = chunk[start...].firstIndex(of: UInt8(ascii: "\n")) {
                try await publish(cut.isEmpty ? Array(chunk[start..<end]) : cut + chunk[start..<end])
                cut.removeAll(keepingCapacity: true)
                start = end + 1
            }
            cut += chunk[start...]
        }
        if !cut.isEmpty { try await publish(cut) }
    }
}
