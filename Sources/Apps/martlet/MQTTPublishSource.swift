import MartletLogging

/// Where the messages of `mqtt pub` come from.
enum MQTTPublishSource {
    /// The one message of a source; `nil` for lines.
    static func payload(of source: MQTTPublishOptions.Source, until stop: InputStop) throws(InputFailure) -> [UInt8]? {
        switch source {
        case .text(let text): Array(text.utf8)
        case .empty: []
        case .file(let path): try whole(try InputFile(path: path))
        case .standardInput: try whole(InputFile.standardInput(until: stop))
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
