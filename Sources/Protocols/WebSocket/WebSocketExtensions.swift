/// The value of Sec-WebSocket-Extensions (RFC 6455 section 9.1): names with parameters, in the order of preference.
struct WebSocketExtension: Equatable {
    var name: String
    var parameters: [(name: String, value: String?)]

    static func == (a: WebSocketExtension, b: WebSocketExtension) -> Bool {
        a.name == b.name && a.parameters.elementsEqual(b.parameters) { $0.name == $1.name && $0.value == $1.value }
    }

    /// All of a field's value; nil if it is not of the form. Fields of one name are joined by commas before.
    static func list(_ value: String) -> [WebSocketExtension]? {
        var walk = WebSocketListWalk(value.utf8)
        var list: [WebSocketExtension] = []
        while true {
            // Empty elements are allowed to a sender of old (RFC 9110 section 5.6.1.2).
            walk.skipBlanks(andCommas: true)
            if walk.isAtEnd { return list }
            guard let name = walk.token() else { return nil }
            var found = WebSocketExtension(name: name, parameters: [])
            walk.skipBlanks()
            while walk.take(UInt8(ascii: ";")) {
                walk.skipBlanks()
                guard let parameter = walk.token() else { return nil }
                walk.skipBlanks()
                var value: String?
                if walk.take(UInt8(ascii: "=")) {
                    walk.skipBlanks()
                    guard let text = walk.quoted() ?? walk.token() else { return nil }
                    value = text
                    walk.skipBlanks()
                }
                found.parameters.append((parameter, value))
            }
            list.append(found)
            guard walk.isAtEnd || walk.take(UInt8(ascii: ",")) else { return nil }
        }
    }
}

/// Steps through a list of tokens.
struct WebSocketListWalk {
    private var rest: Substring.UTF8View

    init(_ bytes: String.UTF8View) { rest = bytes[...] }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func skipBlanks(andCommas: Bool = false) {
        rest = rest.drop { $0 == 0x20 || $0 == 0x09 || andCommas && $0 == UInt8(ascii: ",") }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard rest.first == byte else { return false }
        rest.removeFirst()
        return true
    }

    /// RFC 9110 section 5.6.2.
    mutating func token() -> String? {
        let token = rest.prefix(while: Self.isToken)
        guard !token.isEmpty else { return nil }
        rest = rest[token.endIndex...]
        return String(decoding: token, as: UTF8.self)
    }

    /// A quoted string that holds a token, as RFC 6455 section 9.1 wants it.
    mutating func quoted() -> String? {
        var walk = self
        guard walk.take(0x22) else { return nil }
        var text = ""
        while !walk.take(0x22) {
            _ = walk.take(0x5C)
            guard let byte = walk.rest.first, Self.isToken(byte) else { return nil }
            walk.rest.removeFirst()
            text.unicodeScalars.append(Unicode.Scalar(byte))
        }
        guard !text.isEmpty else { return nil }
        self = walk
        return text
    }

    static func isToken(_ byte: UInt8) -> Bool {
        let mask: UInt64 = byte < 64 ? 0x03FF_6CFA_0000_0000 : 0x57FF_FFFF_C7FF_FFFE
        return byte < 128 && (mask >> UInt64(byte & 63)) & 1 != 0
    }
}

extension WebSocketDeflateParameters {
    static let extensionName = "permessage-deflate"

    /// A server's answer: the value of Sec-WebSocket-Extensions.
    var response: String {
        var text = Self.extensionName
        if serverNoContextTakeover { text += "; server_no_context_takeover" }
        if clientNoContextTakeover { text += "; client_no_context_takeover" }
        if serverMaxWindowBits < 15 { text += "; server_max_window_bits=\(serverMaxWindowBits)" }
        if clientMaxWindowBits < 15 { text += "; client_max_window_bits=\(clientMaxWindowBits)" }
        return text
    }
}

/// One element of an offer or an answer.
struct WebSocketDeflateTerms: Equatable {
    var serverNoContextTakeover = false
    var clientNoContextTakeover = false
    var serverMaxWindowBits: Int?
    /// 0: without a value, as an offer may have it.
    var clientMaxWindowBits: Int?

    /// Nil: a parameter that is unknown, said twice or has an invalid value (RFC 7692 section 7.1), for which an offer is declined.
    init?(_ terms: WebSocketExtension) {
        var seen: Set<String> = []
        for (name, value) in terms.parameters {
            guard seen.insert(name).inserted else { return nil }
            switch (name, value) {
            case ("server_no_context_takeover", nil): serverNoContextTakeover = true
            case ("client_no_context_takeover", nil): clientNoContextTakeover = true
            case ("client_max_window_bits", nil): clientMaxWindowBits = 0
            case ("server_max_window_bits", let text?):
                guard let bits = Self.bits(text) else { return nil }
                serverMaxWindowBits = bits
            case ("client_max_window_bits", let text?):
                guard let bits = Self.bits(text) else { return nil }
                clientMaxWindowBits = bits
            default: return nil
            }
        }
    }

    /// 8 to 15, without zeros in front.
    private static func bits(_ text: String) -> Int? {
        guard text.utf8.first != 0x30, text.utf8.allSatisfy({ $0 &- 0x30 < 10 }), let bits = Int(text), (8...15).contains(bits) else { return nil }
        return bits
    }
}

extension WebSocketDeflateOptions {
    /// A client's offer: the value of Sec-WebSocket-Extensions.
    public var offer: String {
        var text = WebSocketDeflateParameters.extensionName
        if !peerKeepsContext { text += "; server_no_context_takeover" }
        if !keepsContext { text += "; client_no_context_takeover" }
        if peerWindowBits < 15 { text += "; server_max_window_bits=\(max(9, peerWindowBits))" }
        // A server may then ask for less.
        text += windowBits < 15 ? "; client_max_window_bits=\(max(9, windowBits))" : "; client_max_window_bits"
        return text
    }

    /// A server's answer to one offer; nil: declined.
    func answer(_ offer: WebSocketDeflateTerms) -> WebSocketDeflateParameters {
        var agreed = WebSocketDeflateParameters()
        agreed.serverNoContextTakeover = offer.serverNoContextTakeover || !keepsContext
        agreed.clientNoContextTakeover = offer.clientNoContextTakeover || !peerKeepsContext
        agreed.serverMaxWindowBits = min(offer.serverMaxWindowBits ?? 15, max(9, windowBits))
        // Only who says so can be asked for less (RFC 7692 section 7.1.2.2).
        if let bits = offer.clientMaxWindowBits { agreed.clientMaxWindowBits = min(bits == 0 ? 15 : bits, max(9, peerWindowBits)) }
        return agreed
    }

    /// What a server's answer to `offer` means; nil if it is no answer to it.
    func agree(_ answer: WebSocketDeflateTerms) -> WebSocketDeflateParameters? {
        var agreed = WebSocketDeflateParameters()
        if !peerKeepsContext, !answer.serverNoContextTakeover { return nil }
        agreed.serverNoContextTakeover = answer.serverNoContextTakeover
        agreed.clientNoContextTakeover = answer.clientNoContextTakeover || !keepsContext
        agreed.serverMaxWindowBits = answer.serverMaxWindowBits ?? 15
        if peerWindowBits < 15, agreed.serverMaxWindowBits > max(9, peerWindowBits) { return nil }
        agreed.clientMaxWindowBits = answer.clientMaxWindowBits ?? 15
        if agreed.clientMaxWindowBits == 0 { return nil }
        return agreed
    }
}
