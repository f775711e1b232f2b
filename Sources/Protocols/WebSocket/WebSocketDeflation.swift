import MartletBytes
import MartletDeflate

/// What the connections of one loop share to deflate and inflate: a compressor and a decompressor for all that keep no context, made on first use.
/// One loop's alone, and to be kept as long as the loop.
public final class WebSocketCompression {
    private final class Compressor {
        var deflater: Deflater?
        init(_ deflater: consuming Deflater?) { self.deflater = deflater }
    }

    public let options: WebSocketDeflateOptions
    /// By window bits, from 9.
    private var compressors: [Compressor?] = Array(repeating: nil, count: 7)
    private var inflater: Inflater?
    private var scratch = ByteBuffer()

    public init(_ options: WebSocketDeflateOptions) { self.options = options }

    /// The window of what is deflated for connections that allow it.
    var windowBits: Int { min(max(options.windowBits, 9), 15) }

    func makeDeflater(_ windowBits: Int) -> Deflater? {
        Deflater(.raw, level: options.level, windowBits: windowBits, memoryLevel: options.memoryLevel)
    }

    /// Shows `bytes` deflated without a context and without the four bytes at the end (RFC 7692 section 7.2.1); false if there is no memory.
    func withDeflated(_ bytes: Span<UInt8>, windowBits: Int, _ body: (Span<UInt8>) -> Void) -> Bool {
        if compressors[windowBits - 9] == nil { compressors[windowBits - 9] = Compressor(makeDeflater(windowBits)) }
        guard let compressor = compressors[windowBits - 9], compressor.deflater != nil else { return false }
        compressor.deflater!.reset()
        return withDeflated(bytes, by: &compressor.deflater!, body)
    }

    /// As above, by a connection's own compressor.
    func withDeflated(_ bytes: Span<UInt8>, by deflater: inout Deflater, _ body: (Span<UInt8>) -> Void) -> Bool {
        scratch.removeAll()
        deflater.append(bytes, .sync, into: &scratch)
        body(scratch.span.extracting(droppingLast: 4))
        trim()
        return true
    }

    /// Replaces a whole message's deflated bytes. `inflater`: the connection's own; nil: the shared one.
    func inflate(_ message: inout ByteBuffer, limit: Int, by own: inout Inflater?, keepsContext: Bool, windowBits: Int) throws(WebSocketViolation) {
        // An empty message may come without any bytes (RFC 7692 section 7.2.3.6 has one of one byte).
        guard !message.isEmpty else { return }
        scratch.removeAll()
        if keepsContext {
            if own == nil { own = Inflater(.raw, windowBits: windowBits) }
            guard own != nil else { throw .deflate }
            try Self.inflate(message.span, by: &own!, limit: limit, into: &scratch)
        } else {
            if inflater == nil { inflater = Inflater(.raw) }
            guard inflater != nil else { throw .deflate }
            inflater!.reset()
            try Self.inflate(message.span, by: &inflater!, limit: limit, into: &scratch)
        }
        swap(&message, &scratch)
        trim()
    }

    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]

    private static func inflate(_ bytes: Span<UInt8>, by inflater: inout Inflater, limit: Int, into output: inout ByteBuffer) throws(WebSocketViolation) {
        do throws(Inflater.Failure) {
            var offset = 0
            while offset < bytes.count {
                offset += try inflater.append(bytes.extracting(offset...), limit: limit - output.count, into: &output)
                guard inflater.isFinished else { break }
                // A last block within a message, or at its end (RFC 7692 section 7.2.3.4): what follows may still repeat what was before.
                inflater.goOn()
                if offset == bytes.count { return }
            }
            try inflater.append(tail.span, limit: limit - output.count, into: &output)
        } catch { throw error == .tooLong ? .inflatedTooLong : .deflate }
        // Bytes that end within a block would take the next message's for its rest.
        guard inflater.isBetweenBlocks, !inflater.isFinished else { throw .deflate }
    }

    /// A large message's memory is not kept for the small ones.
    private func trim() {
        if scratch.capacity > 1 << 18 { scratch.release() }
    }
}

/// A connection's permessage-deflate (RFC 7692), once agreed on. It has a compressor and a decompressor of its own where the context is kept, from the
/// first message on that needs it.
public struct WebSocketDeflation: ~Copyable {
    private let shared: WebSocketCompression
    private let outgoingBits: UInt8
    private let incomingBits: UInt8
    private let keepsOutgoing: Bool
    private let keepsIncoming: Bool
    /// What the own compressor remembers is not what the peer has heard: it begins anew.
    private var isOutOfStep = false
    private var deflater: Deflater?
    private var inflater: Inflater?

    /// `isClient`: this side is. `shared`: the loop's.
    public init(_ parameters: WebSocketDeflateParameters, isClient: Bool, sharing shared: WebSocketCompression) {
        self.shared = shared
        let out = isClient ? parameters.clientMaxWindowBits : parameters.serverMaxWindowBits
        outgoingBits = UInt8(min(shared.windowBits, out))
        incomingBits = UInt8(isClient ? parameters.serverMaxWindowBits : parameters.clientMaxWindowBits)
        keepsOutgoing = !(isClient ? parameters.clientNoContextTakeover : parameters.serverNoContextTakeover) && shared.options.keepsContext
        keepsIncoming = !(isClient ? parameters.serverNoContextTakeover : parameters.clientNoContextTakeover)
    }

    /// Whether a message deflated for many, with this window, can be sent here. If so it is taken to be.
    mutating func takesForeign(_ windowBits: UInt8) -> Bool {
        guard windowBits <= outgoingBits else { return false }
        isOutOfStep = true
        return true
    }

    /// Appends the message's frame; answers false, and appends nothing, where it is better sent as it is.
    @inline(never)
    mutating func append(_ kind: WebSocketMessageKind, _ bytes: Span<UInt8>, _ key: UInt32?, into output: inout ByteBuffer) -> Bool {
        // zlib has no window of 8 bits without a header around it; whoever wants one is sent messages as they are.
        guard bytes.count >= max(1, shared.options.threshold), outgoingBits >= 9 else { return false }
        let first = WebSocketWire.final | WebSocketWire.compressed | kind.rawValue
        var isSmaller = true
        guard keepsOutgoing else {
            let isDone = shared.withDeflated(bytes, windowBits: Int(outgoingBits)) { deflated in
                isSmaller = deflated.count < bytes.count
                if isSmaller { WebSocketMachine.append(first, deflated, key, into: &output) }
            }
            return isDone && isSmaller
        }
        if deflater == nil { deflater = shared.makeDeflater(Int(outgoingBits)) } else if isOutOfStep { deflater!.reset() }
        guard deflater != nil else { return false }
        isOutOfStep = false
        // The peer's window has to have whatever this side's has, so what was deflated is sent even where it is longer.
        return shared.withDeflated(bytes, by: &deflater!) { WebSocketMachine.append(first, $0, key, into: &output) }
    }

    /// Replaces a whole message's deflated bytes by what they stand for, at most `limit` bytes.
    @inline(never)
    mutating func inflate(_ message: inout ByteBuffer, limit: Int) throws(WebSocketViolation) {
        try shared.inflate(&message, limit: limit, by: &inflater, keepsContext: keepsIncoming, windowBits: Int(incomingBits))
    }
}
