public import MartletBytes
public import MartletJSON

/// What a page asks for: one JSON object, taken apart. Used again and again, so that nothing is allocated for a message.
/// ```
/// {"op":"subscribe|unsubscribe|publish|request|connect", "id":…, "topic":"…", "text":"…" | "base64":"…",
///  "qos":0|1, "retain":false, "reply":"…", "correlation":"Base 64", "timeout":ms, "user":"…", "password":"…"}
/// ```
/// Members that it does not know mean nothing. Not here: whether a topic is one, and what is done.
public struct WebSocketOperation: ~Copyable {
    public enum Kind: Sendable { case subscribe, unsubscribe, publish, request, connect }

    public private(set) var kind: Kind?
    /// A number or a string, as it was written; empty if there is none.
    public private(set) var id = ByteBuffer()
    public private(set) var topic = ByteBuffer()
    public private(set) var body = ByteBuffer()
    /// Where an answer is wanted.
    public private(set) var reply = ByteBuffer()
    /// What an answer has to say, so that it is known which one it is.
    public private(set) var correlation = ByteBuffer()
    public private(set) var user = ByteBuffer()
    public private(set) var password = ByteBuffer()
    public private(set) var hasTopic = false, hasBody = false, hasReply = false, hasUser = false
    public private(set) var retains = false
    public private(set) var qos: UInt8 = 0
    /// In milliseconds.
    public private(set) var timeout: Int?

    /// What `id` may have, in bytes: it comes back with each answer.
    public static let idMax = 256

    public init() {}

    private mutating func clear() {
        kind = nil
        id.removeAll()
        topic.removeAll()
        body.removeAll()
        reply.removeAll()
        correlation.removeAll()
        user.removeAll()
        password.removeAll()
        (hasTopic, hasBody, hasReply, hasUser, retains, qos, timeout) = (false, false, false, false, false, 0, nil)
    }

    /// Reads one. Throws why it is none; `id` may have been read then. `bytes` is UTF-8.
    public mutating func read(_ bytes: Span<UInt8>) throws(WebSocketOperationRefusal) {
        clear()
        var reader = JSONReader(bytes)
        let first: JSONReader.Token?
        do throws(JSONViolation) { first = try reader.next() } catch { throw .json(error) }
        guard first == .beginObject else { throw .notAnObject }
        // Of the first member that means nothing good: the others are read all the same, for the id.
        var refusal: WebSocketOperationRefusal?
        do throws(JSONViolation) {
            while case .name(let name)? = try reader.next() {
                do throws(WebSocketOperationRefusal) {
                    try take(name, &reader, bytes)
                } catch {
                    if case .json(let violation) = error { throw violation }
                    refusal = refusal ?? error
                }
            }
            // Nothing may stand behind it.
            _ = try reader.next()
        } catch { throw .json(error) }
        if let refusal { throw refusal }
        guard kind != nil else { throw .operation }
    }

    @_lifetime(reader: copy reader)
    private mutating func take(_ name: JSONString, _ reader: inout JSONReader, _ bytes: Span<UInt8>) throws(WebSocketOperationRefusal) {
        switch Self.member(name, bytes) {
        case .op: kind = try Self.operation(&reader, bytes)
        case .id: try takeID(&reader, bytes)
        case .topic: hasTopic = try Self.text(.topic, &reader, bytes, &topic)
        case .text: hasBody = try Self.text(.text, &reader, bytes, &body)
        case .base64: hasBody = try Self.base64(.base64, &reader, bytes, &body)
        case .qos: qos = UInt8(try Self.integer(.qos, 0...1, &reader, bytes))
        case .retain:
            guard case .flag(let flag) = try Self.token(&reader) else { throw .member(.retain) }
            retains = flag
        case .reply: hasReply = try Self.text(.reply, &reader, bytes, &reply)
        case .correlation: _ = try Self.base64(.correlation, &reader, bytes, &correlation)
        case .timeout: timeout = try Self.integer(.timeout, 1...86_400_000, &reader, bytes)
        case .user: hasUser = try Self.text(.user, &reader, bytes, &user)
        case .password: _ = try Self.text(.password, &reader, bytes, &password)
        case nil: do throws(JSONViolation) { try reader.skip() } catch { throw .json(error) }
        }
    }

    private static func member(_ name: JSONString, _ bytes: Span<UInt8>) -> WebSocketOperationRefusal.Member? {
        if name.isEscaped {
            var said = ByteBuffer()
            name.append(in: bytes, to: &said)
            return WebSocketOperationRefusal.Member(rawValue: said.span.text)
        }
        switch name.range.count {
        case 2: return name.says("op", in: bytes) ? .op : name.says("id", in: bytes) ? .id : nil
        case 3: return name.says("qos", in: bytes) ? .qos : nil
        case 4: return name.says("text", in: bytes) ? .text : name.says("user", in: bytes) ? .user : nil
        case 5: return name.says("topic", in: bytes) ? .topic : name.says("reply", in: bytes) ? .reply : nil
        case 6: return name.says("base64", in: bytes) ? .base64 : name.says("retain", in: bytes) ? .retain : nil
        case 7: return name.says("timeout", in: bytes) ? .timeout : nil
        case 8: return name.says("password", in: bytes) ? .password : nil
        case 11: return name.says("correlation", in: bytes) ? .correlation : nil
        default: return nil
        }
    }

    @_lifetime(reader: copy reader)
    private static func token(_ reader: inout JSONReader) throws(WebSocketOperationRefusal) -> JSONReader.Token {
        do throws(JSONViolation) {
            guard let token = try reader.next() else { throw .cut }
            if token == .beginObject || token == .beginArray { try reader.skipRest() }
            return token
        } catch { throw .json(error) }
    }

    @_lifetime(reader: copy reader)
    private static func operation(_ reader: inout JSONReader, _ bytes: Span<UInt8>) throws(WebSocketOperationRefusal) -> Kind {
        guard case .text(let name) = try Self.token(&reader) else { throw .operation }
        if name.says("publish", in: bytes) { return .publish }
        if name.says("subscribe", in: bytes) { return .subscribe }
        if name.says("unsubscribe", in: bytes) { return .unsubscribe }
        if name.says("request", in: bytes) { return .request }
        if name.says("connect", in: bytes) { return .connect }
        throw .operation
    }

    @_lifetime(reader: copy reader)
    private mutating func takeID(_ reader: inout JSONReader, _ bytes: Span<UInt8>) throws(WebSocketOperationRefusal) {
        id.removeAll()
        switch try Self.token(&reader) {
        case .number(let range) where Int(range.count) <= Self.idMax: id.append(bytes.at(range))
        case .text(let string) where Int(string.range.count) <= Self.idMax:
            id.append(bytes.extracting(Int(string.range.start) - 1..<string.range.end + 1))
        case .null: break
        default: throw .member(.id)
        }
    }

    @_lifetime(reader: copy reader)
    private static func text(
        _ name: WebSocketOperationRefusal.Member, _ reader: inout JSONReader, _ bytes: Span<UInt8>, _ buffer: inout ByteBuffer
    ) throws(WebSocketOperationRefusal) -> Bool {
        buffer.removeAll()
        guard case .text(let string) = try Self.token(&reader) else { throw .member(name) }
        string.append(in: bytes, to: &buffer)
        return true
    }

    @_lifetime(reader: copy reader)
    private static func base64(
        _ name: WebSocketOperationRefusal.Member, _ reader: inout JSONReader, _ bytes: Span<UInt8>, _ buffer: inout ByteBuffer
    ) throws(WebSocketOperationRefusal) -> Bool {
        buffer.removeAll()
        guard case .text(let string) = try Self.token(&reader) else { throw .member(name) }
        if !string.isEscaped {
            guard Base64.append(decoding: bytes.at(string.range), to: &buffer) else { throw .member(name) }
            return true
        }
        var letters = ByteBuffer()
        string.append(in: bytes, to: &letters)
        guard Base64.append(decoding: letters.span, to: &buffer) else { throw .member(name) }
        return true
    }

    @_lifetime(reader: copy reader)
    private static func integer(
        _ name: WebSocketOperationRefusal.Member, _ range: ClosedRange<Int>, _ reader: inout JSONReader, _ bytes: Span<UInt8>
    ) throws(WebSocketOperationRefusal) -> Int {
        guard case .number(let place) = try Self.token(&reader), let number = Int(bytes.at(place).text), range.contains(number) else { throw .member(name) }
        return number
    }
}

/// Why a page's message is not done, in one sentence that it is sent.
public enum WebSocketOperationRefusal: Error, Sendable, CustomStringConvertible {
    case json(JSONViolation)
    case notAnObject
    case operation
    /// One whose value is none.
    case member(Member)

    public enum Member: String, Sendable { case op, id, topic, text, base64, qos, retain, reply, correlation, timeout, user, password }

    public var description: String {
        switch self {
        case .json(let violation): "this is not JSON: \(violation)"
        case .notAnObject: "a message is a JSON object"
        case .operation: "op is one of subscribe, unsubscribe, publish, request and connect"
        case .member(let name):
            switch name {
            case .qos: "qos is 0 or 1"
            case .retain: "retain is true or false"
            case .id: "id is a number or a string, of at most \(WebSocketOperation.idMax) bytes"
            case .timeout: "timeout is a whole number of milliseconds, up to a day"
            case .base64, .correlation: "\(name) is a string in Base 64 with its padding (RFC 4648, 4)"
            default: "\(name) is a string"
            }
        }
    }
}
