import MartletBytes

/// One layer above another, WebSocket above TLS say: what the lower one unseals, the upper one unseals further.
///
/// Invariant: the upper layer starts when the lower one is open. What the two hold back together is at most `heldMax` bytes.
public final class StackedLayer: StreamLayer {
    private let upper: StreamLayer
    private let lower: StreamLayer

    /// `lower` may have been at work already.
    public init(_ upper: StreamLayer, above lower: StreamLayer) {
        self.upper = upper
        self.lower = lower
        super.init()
        swap(&sealed.value, &lower.sealed.value)
    }

    /// The layer next to the socket.
    public var bottom: StreamLayer { (lower as? StackedLayer)?.bottom ?? lower }

    public override func start() {
        if !lower.hasStarted {
            lower.hasStarted = true
            below { lower.start() }
        }
        proceed()
    }

    public override func unseal(_ bytes: UnsafeRawPointer, count: Int, into plain: UnsafeMutableRawPointer) -> Int {
        var middle = ByteBuffer()
        middle.commit(below { lower.unseal(bytes, count: count, into: middle.reserve(count + Self.heldMax)) })
        proceed()
        let written = middle.isEmpty || !upper.hasStarted ? 0 : upper.unseal(middle.readable, count: middle.count, into: plain)
        if lower.hasEnded, !upper.hasEnded, upper.failure == nil { upper.receiveEnd() }
        proceed()
        return written
    }

    public override func seal(_ plain: UnsafeRawPointer, count: Int) {
        upper.seal(plain, count: count)
        proceed()
    }

    public override func sealEnd() {
        upper.sealEnd()
        proceed()
        below { lower.sealEnd() }
    }

    public override func receiveEnd() {
        lower.receiveEnd()
        upper.receiveEnd()
        proceed()
    }

    /// What the upper layer has to say goes through the lower one, and the states are both layers'.
    private func proceed() {
        let isThrough = lower.isOpen && lower.failure == nil
        if isThrough, !upper.hasStarted {
            upper.hasStarted = true
            upper.start()
        }
        if isThrough, !upper.sealed.value.isEmpty { below { lower.seal(upper.sealed.value.readable, count: upper.sealed.value.count) } }
        upper.sealed.value.release()
        isOpen = upper.isOpen
        hasEnded = upper.hasEnded
        failure = lower.failure ?? upper.failure
    }

    /// The lower layer writes where this one's bytes lie.
    private func below<Answer>(_ body: () -> Answer) -> Answer {
        swap(&sealed.value, &lower.sealed.value)
        defer { swap(&sealed.value, &lower.sealed.value) }
        return body()
    }
}

extension Transport {
    /// The same with `layer` above the one its bytes go through, if they go through one, which must be open. What was received is unsealed now; what
    /// was written and has not left goes before anything of the new layer's. On the loop that the connection is on.
    public func stacking(_ layer: StreamLayer) -> Transport {
        var stacked = Transport(descriptor: descriptor, layer: layer)
        if let lower = self.layer {
            if !unsent.isEmpty { unsent.withUnsafeBytes { lower.seal($0.baseAddress!, count: $0.count) } }
        } else {
            layer.sealed.value.append(unsent.span)
        }
        layer.hasStarted = true
        layer.start()
        if !unread.isEmpty {
            var plain = ByteBuffer()
            plain.commit(unread.withUnsafeBytes { layer.unseal($0.baseAddress!, count: $0.count, into: plain.reserve($0.count + StreamLayer.heldMax)) })
            stacked.unread = plain.span.array
        }
        if let lower = self.layer { stacked.layer = StackedLayer(layer, above: lower) }
        return stacked
    }
}
