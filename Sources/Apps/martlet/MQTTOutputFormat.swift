import MartletLogging
import MartletMQTT

/// How `mqtt sub` and `mqtt rr` print a message: mosquitto_sub's `-F`, and `-v`, `-N` and the default as formats of it.
///
/// Byte for byte as mosquitto_sub 2.0.11 prints it, its oddities with field widths of payloads included; but what it prints
/// of the properties in `%j` comes here in one order.
struct MQTTOutputFormat: Equatable, Sendable {
    struct Field: Equatable, Sendable {
        var letter: UInt8
        var isLeftAligned = false
        var pad = UInt8(ascii: " ")
        var width = 0
        var precision: Int?
    }
    private enum Piece: Equatable, Sendable {
        case bytes([UInt8])
        case field(Field)
        /// strftime's, with its percent sign.
        case time(String)
        case timeNanoseconds
    }
    private var pieces: [Piece] = []
    var endsLines = true
    var isPretty = false

    static let payload = MQTTOutputFormat(pieces: [.field(Field(letter: UInt8(ascii: "p")))])
    static let topicAndPayload = MQTTOutputFormat(
        pieces: [.field(Field(letter: UInt8(ascii: "t"))), .bytes([32]), .field(Field(letter: UInt8(ascii: "p")))])

    private init(pieces: [Piece]) {
        self.pieces = pieces
        isPlain = true
    }

    /// Not `-F`: then a message of no bytes is no line, or with `-v` a `(null)`.
    private var isPlain = false

    init(_ text: String) throws(CommandFailure) {
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "%"): try percent(&rest)
            case UInt8(ascii: "@"):
                guard let letter = rest.popFirst() else { throw .usage("-F: an @ at the end") }
                switch letter {
                case UInt8(ascii: "@"): literal(letter)
                case UInt8(ascii: "N"): pieces.append(.timeNanoseconds)
                default: pieces.append(.time("%" + String(decoding: [letter], as: UTF8.self)))
                }
            case UInt8(ascii: "\\"):
                guard let letter = rest.popFirst(), let escaped = Self.escapes[letter] else {
                    throw .usage("-F: the escapes are \\\\ \\0 \\a \\e \\n \\r \\t \\v")
                }
                literal(escaped)
            default: literal(byte)
            }
        }
    }

    private static let escapes: [UInt8: UInt8] = [92: 92, 48: 0, 97: 7, 101: 27, 110: 10, 114: 13, 116: 9, 118: 11]

    private mutating func literal(_ byte: UInt8) {
        if case .bytes(let bytes)? = pieces.last { pieces[pieces.count - 1] = .bytes(bytes + [byte]) } else { pieces.append(.bytes([byte])) }
    }

    private mutating func percent(_ rest: inout ArraySlice<UInt8>) throws(CommandFailure) {
        var field = Field(letter: 0)
        if rest.first == UInt8(ascii: "-") {
            field.isLeftAligned = true
            rest.removeFirst()
        }
        if rest.first == UInt8(ascii: "0") {
            field.pad = UInt8(ascii: "0")
            rest.removeFirst()
        }
        field.width = Self.number(&rest)
        if rest.first == UInt8(ascii: ".") {
            rest.removeFirst()
            field.precision = Self.number(&rest)
        }
        guard let letter = rest.popFirst() else { throw .usage("-F: a % at the end") }
        if letter == UInt8(ascii: "%") { return literal(letter) }
        guard "ACDEFIjJlmpPqrRStUxX".utf8.contains(letter) else {
            throw .usage("-F: %\(String(decoding: [letter], as: UTF8.self)) is unknown; there are %A %C %D %E %F %I %j %J %l %m %P %p %q %R %r %S %t %U %x %X")
        }
        field.letter = letter
        pieces.append(.field(field))
    }

    private static func number(_ rest: inout ArraySlice<UInt8>) -> Int {
        var number = 0
        while let byte = rest.first, byte >= 48, byte <= 57 {
            number = min(number * 10 + Int(byte - 48), 10_000)
            rest.removeFirst()
        }
        return number
    }

    /// Answers a sentence for stderr if the message cannot be printed so.
    func append(
        _ message: MQTTMessage, at now: @autoclosure () -> LocalTime, showsSubscriptionIdentifier: Bool = false, to output: inout [UInt8]
    ) -> String? {
        let identifiers = showsSubscriptionIdentifier ? message.subscriptionIdentifiers : []
        if message.payload.isEmpty, isPlain {
            if endsLines, pieces.count > 1 { output += "\(message.topic) (null)\n".utf8 }
            return nil
        }
        var time: LocalTime?
        func moment() -> LocalTime {
            let moment = time ?? now()
            time = moment
            return moment
        }
        var complaint: String?
        for piece in pieces {
            switch piece {
            case .bytes(let bytes): output += bytes
            case .time(let format): output += moment().text(format).utf8
            case .timeNanoseconds: output += Self.padded(moment().nanoseconds, 9).utf8
            case .field(let field):
                switch field.letter {
                case UInt8(ascii: "I"): field.append(text: moment().text("%FT%T%z"), to: &output)
                case UInt8(ascii: "U"): output += "\(moment().seconds).\(Self.padded(moment().nanoseconds, 9))".utf8
                case UInt8(ascii: "j"), UInt8(ascii: "J"):
                    let isText = field.letter == UInt8(ascii: "j")
                    if let json = MQTTMessageJSON.text(of: message, identifiers, at: moment(), payloadAsText: isText, isPretty: isPretty) {
                        output += json
                    } else {
                        complaint = "Error: Message payload is not valid JSON on topic \(message.topic)."
                    }
                default: field.append(message, identifiers, to: &output)
                }
            }
        }
        if endsLines { output.append(10) }
        return complaint
    }

    static func padded(_ number: Int, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}

extension MQTTOutputFormat.Field {
    func append(_ message: MQTTMessage, _ identifiers: [UInt32], to output: inout [UInt8]) {
        let properties = message.properties
        switch letter {
        case UInt8(ascii: "A"): append(number: message.topicAlias == 0 ? nil : Int(message.topicAlias), to: &output)
        case UInt8(ascii: "C"): append(text: properties.contentType ?? "", to: &output)
        case UInt8(ascii: "D"): output += properties.correlationData ?? []
        case UInt8(ascii: "E"): append(number: properties.messageExpiry.map { Int($0.components.seconds) }, to: &output)
        case UInt8(ascii: "F"): append(number: properties.isText ? 1 : nil, to: &output)
        case UInt8(ascii: "l"): append(number: message.payload.count, to: &output)
        case UInt8(ascii: "m"): append(number: Int(message.packetIdentifier), to: &output)
        case UInt8(ascii: "P"): output += properties.userProperties.map { "\($0.name):\($0.value)" }.joined(separator: " ").utf8
        case UInt8(ascii: "p"): append(message.payload, to: &output)
        case UInt8(ascii: "q"): output.append(48 + message.qos.rawValue)
        case UInt8(ascii: "R"): append(text: properties.responseTopic ?? "", to: &output)
        case UInt8(ascii: "r"): output.append(message.retain ? 49 : 48)
        case UInt8(ascii: "S"): append(number: identifiers.first.map(Int.init), to: &output)
        case UInt8(ascii: "t"): append(text: message.topic, to: &output)
        case UInt8(ascii: "x"): append(hexadecimal: message.payload, Array("0123456789abcdef".utf8), to: &output)
        case UInt8(ascii: "X"): append(hexadecimal: message.payload, Array("0123456789ABCDEF".utf8), to: &output)
        default: break
        }
    }

    func append(text: String, to output: inout [UInt8]) {
        let bytes = text.utf8.prefix(precision ?? .max)
        let padding = [UInt8](repeating: 32, count: max(0, width - bytes.count))
        output += isLeftAligned ? bytes + padding : padding + bytes
    }

    /// `nil`: blanks.
    private func append(number: Int?, to output: inout [UInt8]) {
        guard let number else { return output += [UInt8](repeating: pad, count: width) }
        let digits = Array(String(number).utf8)
        let padding = [UInt8](repeating: isLeftAligned ? 32 : pad, count: max(0, width - digits.count))
        output += isLeftAligned ? digits + padding : padding + digits
    }

    /// A width cuts the payload too.
    private func append(_ payload: [UInt8], to output: inout [UInt8]) {
        let bytes = width > 0 ? payload.prefix(width) : payload[...]
        let count = max(0, width - bytes.count)
        if !isLeftAligned { output += [UInt8](repeating: pad, count: count) }
        output += bytes
        if isLeftAligned { output += [UInt8](repeating: 32, count: count) }
    }

    /// A width cuts the payload to half of it, and then again to half of what is left.
    private func append(hexadecimal payload: [UInt8], _ digits: [UInt8], to output: inout [UInt8]) {
        let bytes = width > 0 ? payload.prefix(min(payload.count, width) / 2) : payload[...]
        let count = max(0, width - 2 * bytes.count)
        if !isLeftAligned { output += [UInt8](repeating: pad, count: count) }
        for byte in bytes { output += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        if isLeftAligned { output += [UInt8](repeating: 32, count: count) }
    }
}
